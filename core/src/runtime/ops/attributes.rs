//! The attributes of a call, which are integers and lists of integers.

use std::prelude::v1::*;

use crate::runtime::onnx::message::Attribute;

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
    pub(super) fn read(call: &str, attributes: &[Attribute<'_>]) -> Result<Self, AttributeError> {
        let integers = |a: &Attribute<'_>| {
            let refusal = |found| AttributeError::Type { call: call.into(), name: a.name.into(), found };
            Ok((a.name.into(), a.integers().map_err(refusal)?))
        };
        let values = attributes.iter().map(integers).collect::<Result<_, AttributeError>>()?;
        Ok(Self { call: call.into(), values })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_integer_is_an_error_of_its_call_and_name() {
        let read = |name, kind, int, ints: &[i64]| {
            Attributes::read("Mlp", &[Attribute { name, kind, int, ints: ints.into() }])
        };
        const INT: u64 = 2;
        const INTS: u64 = 7;
        for (kind, found) in [(0, "UNDEFINED"), (1, "FLOAT"), (3, "STRING"), (6, "FLOATS"), (99, "unknown")] {
            let error = read("window", kind, 7, &[]).unwrap_err().to_string();
            assert_eq!(
                error,
                std::format!("Mlp: attribute window is of type {found}; an integer or integers expected")
            );
        }

        let one = read("window", INT, 7, &[]).unwrap();
        assert_eq!(one.get("window").unwrap(), [7]);
        assert_eq!(one.get::<1>("heads").unwrap_err().to_string(), "Mlp: attribute heads is missing");
        let error = one.get::<2>("window").unwrap_err().to_string();
        assert_eq!(error, "Mlp: attribute window is [7]; 2 integers expected");
        let none = read("window", INTS, 7, &[]).unwrap();
        assert!(none.get::<1>("window").is_err() && none.get::<0>("window").is_ok());

        let exact = |kind, i, ints: &[i64]| read("exact", kind, i, ints).unwrap().flag("exact");
        assert!(exact(INT, 1, &[]).unwrap() && !exact(INT, 0, &[]).unwrap());
        assert!(exact(INTS, 0, &[1]).unwrap() && !one.flag("exact").unwrap());
        assert!(exact(INT, 2, &[]).is_err() && exact(INTS, 1, &[1, 1]).is_err());
    }
}
