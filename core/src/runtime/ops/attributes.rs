//! The attributes of a call, which are integers and lists of integers.

use std::prelude::v1::*;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};

/// What is wrong with an attribute of a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttributeError {
    /// Another type.
    #[error("{call}: attribute {name} is of type {found}; an integer or integers expected")]
    Type {
        /// The function.
        call: String,
        /// The attribute.
        name: String,
        /// Its type.
        found: &'static str,
    },
    /// None of this name.
    #[error("{call}: attribute {name} is missing")]
    Missing {
        /// The function.
        call: String,
        /// The attribute.
        name: String,
    },
    /// More or fewer integers.
    #[error("{call}: attribute {name} is {found:?}; {count} integers expected")]
    Count {
        /// The function.
        call: String,
        /// The attribute.
        name: String,
        /// Its integers.
        found: Vec<i64>,
        /// How many it should have.
        count: usize,
    },
    /// Neither 0 nor 1.
    #[error("{call}: attribute {name} is {found}; 0 or 1 expected")]
    Flag {
        /// The function.
        call: String,
        /// The attribute.
        name: String,
        /// Its value.
        found: i64,
    },
}

/// A call's attributes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    call: String,
    values: Vec<(String, Vec<i64>)>,
}

impl Attributes {
    /// Those of a call.
    ///
    /// # Errors
    /// [`AttributeError::Type`] for one that is not of integers.
    pub(super) fn read(node: &NodeProto) -> Result<Self, AttributeError> {
        let call = &node.op_type;
        let values = node.attribute.iter().map(|a| Ok((a.name.clone(), integers(call, a)?)));
        Ok(Self { call: call.clone(), values: values.collect::<Result<_, AttributeError>>()? })
    }

    fn find(&self, name: &str) -> Option<&[i64]> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, values)| values.as_slice())
    }

    /// The `N` integers of an attribute.
    ///
    /// # Errors
    /// [`AttributeError::Missing`] or [`AttributeError::Count`].
    pub(super) fn get<const N: usize>(&self, name: &str) -> Result<[i64; N], AttributeError> {
        let (call, found, name) = (self.call.clone(), self.find(name), name.to_owned());
        let Some(found) = found else { return Err(AttributeError::Missing { call, name }) };
        found.try_into().map_err(|_| AttributeError::Count { call, name, found: found.into(), count: N })
    }

    /// Whether an attribute is 1; one that is missing is 0.
    ///
    /// # Errors
    /// [`AttributeError::Count`] or [`AttributeError::Flag`] for what is neither 0 nor 1.
    pub(super) fn flag(&self, name: &str) -> Result<bool, AttributeError> {
        if self.find(name).is_none() {
            return Ok(false);
        }
        match self.get(name)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(AttributeError::Flag { call: self.call.clone(), name: name.into(), found }),
        }
    }
}

/// The integers of an attribute, by the type that it says it is of.
fn integers(call: &str, attribute: &AttributeProto) -> Result<Vec<i64>, AttributeError> {
    match AttributeType::try_from(attribute.r#type) {
        Ok(AttributeType::Int) => Ok(vec![attribute.i]),
        Ok(AttributeType::Ints) => Ok(attribute.ints.clone()),
        other => {
            let found = other.map_or("unknown", |kind| kind.as_str_name());
            Err(AttributeError::Type { call: call.into(), name: attribute.name.clone(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_integer_is_an_error_of_its_call_and_name() {
        let attribute = |name: &str, kind: AttributeType, i: i64, ints: &[i64]| AttributeProto {
            name: name.into(),
            r#type: kind as i32,
            i,
            ints: ints.into(),
            f: 2.0,
            ..Default::default()
        };
        let read = |attribute: AttributeProto| {
            let node = NodeProto { op_type: "Mlp".into(), attribute: vec![attribute], ..Default::default() };
            Attributes::read(&node)
        };
        for (kind, found) in [
            (AttributeType::Float, "FLOAT"),
            (AttributeType::Floats, "FLOATS"),
            (AttributeType::String, "STRING"),
            (AttributeType::Undefined, "UNDEFINED"),
        ] {
            let error = read(attribute("window", kind, 0, &[])).unwrap_err().to_string();
            assert_eq!(
                error,
                std::format!("Mlp: attribute window is of type {found}; an integer or integers expected")
            );
        }
        let error = read(AttributeProto { r#type: 99, ..attribute("window", AttributeType::Int, 7, &[]) }).unwrap_err();
        assert!(error.to_string().contains("of type unknown"), "{error}");

        let one = read(attribute("window", AttributeType::Int, 7, &[])).unwrap();
        assert_eq!(one.get("window").unwrap(), [7]);
        assert_eq!(one.get::<1>("heads").unwrap_err().to_string(), "Mlp: attribute heads is missing");
        let error = one.get::<2>("window").unwrap_err().to_string();
        assert_eq!(error, "Mlp: attribute window is [7]; 2 integers expected");
        let none = read(attribute("window", AttributeType::Ints, 7, &[])).unwrap();
        assert!(none.get::<1>("window").is_err() && none.get::<0>("window").is_ok());

        let exact = |kind, i, ints: &[i64]| read(attribute("exact", kind, i, ints)).unwrap().flag("exact");
        assert!(exact(AttributeType::Int, 1, &[]).unwrap() && !exact(AttributeType::Int, 0, &[]).unwrap());
        assert!(exact(AttributeType::Ints, 0, &[1]).unwrap() && !one.flag("exact").unwrap());
        assert!(exact(AttributeType::Int, 2, &[]).is_err() && exact(AttributeType::Ints, 1, &[1, 1]).is_err());
    }
}
