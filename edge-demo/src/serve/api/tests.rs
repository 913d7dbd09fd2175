use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

#[test]
fn the_description_has_each_route() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.clone(), path.clone()));
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(named, parts.collect(), "{method} {path}");
        }
    }
    let routes: BTreeSet<_> = routes().iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    assert_eq!(described, routes);
}

#[test]
fn references_lead_somewhere() {
    fn each(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(String::from));
                map.values().for_each(|value| each(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| each(value, found)),
            _ => {}
        }
    }
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut found = Vec::new();
    each(&description, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(description.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}
