//! The functions' bodies against the table that core computes them by.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::FunctionProto;
use umedsam::runtime::functions::{ALL, DOMAIN, EXACT, Function, LAYER_NORM_2D_EPS, LAYER_NORM_EPS};

use super::{decoder_functions, encoder_functions};

/// All bodies, by name.
fn bodies() -> BTreeMap<String, FunctionProto> {
    let all = [encoder_functions::all(), decoder_functions::all()].concat();
    let count = all.len();
    let bodies: BTreeMap<String, FunctionProto> = all.into_iter().map(|f| (f.name().to_owned(), f)).collect();
    assert_eq!(bodies.len(), count);
    bodies
}

#[test]
fn each_function_of_the_table_has_a_body_in_each_form() {
    let bodies = bodies();
    let forms =
        |f: &&Function| if f.has_int8() { vec![f.name_in(false), f.name_in(true)] } else { vec![f.name_in(false)] };
    let expected: BTreeSet<String> = ALL.iter().flat_map(forms).collect();
    assert_eq!(bodies.into_keys().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_body_uses_the_inputs_and_attributes_of_the_table_and_no_others() {
    for (name, body) in bodies() {
        let (function, int8) = Function::find(&name).unwrap();
        let inputs: BTreeSet<String> = function.inputs_in(int8).map(|(input, _)| input).collect();
        let made: BTreeSet<&String> = body.node.iter().flat_map(|node| &node.output).collect();
        let read: BTreeSet<String> = body.node.iter().flat_map(|node| node.input.clone()).collect();
        let free: BTreeSet<String> = read.into_iter().filter(|value| !made.contains(value)).collect();
        assert_eq!(free, inputs, "{name}");
        assert_eq!((body.domain(), body.output.as_slice()), (DOMAIN, &["y".to_owned()][..]), "{name}");

        let mut declared: BTreeSet<&str> = function.attributes.iter().copied().collect();
        assert!(declared.insert(EXACT));
        assert_eq!(body.attribute.iter().map(String::as_str).collect::<BTreeSet<_>>(), declared, "{name}");
        for attribute in body.node.iter().flat_map(|node| &node.attribute).filter(|a| !a.ref_attr_name.is_empty()) {
            assert!(function.attributes.contains(&attribute.ref_attr_name.as_str()), "{name}: {attribute:?}");
        }
    }
}

/// The blocks have LayerNorm's epsilon from the table, not from the file.
#[test]
fn epsilons_are_the_tables() {
    for (name, body) in bodies() {
        let (function, _) = Function::find(&name).unwrap();
        let expected = if ["Neck", "MaskHead"].contains(&function.name) { LAYER_NORM_2D_EPS } else { LAYER_NORM_EPS };
        for norm in body.node.iter().filter(|node| node.op_type == "LayerNormalization") {
            let epsilon = norm.attribute.iter().find(|a| a.name == "epsilon").unwrap().f;
            assert_eq!(epsilon, expected, "{name}");
        }
    }
}
