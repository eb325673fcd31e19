//! Numbers within bounds, and booleans.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::Wrong;
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::raw::value::{Value, Written};

macro_rules! whole {
    ($(#[doc = $doc:literal])+ $Name:ident($Inner:ty), $range:expr, $allowed:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name(pub $Inner);

        impl<T: Into<$Inner>> From<T> for $Name {
            fn from(value: T) -> $Name {
                $Name(value.into())
            }
        }

        impl Written for $Name {
            fn written(&self) -> Json {
                self.0.into()
            }
        }

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                if let Kind::Int(number) = node.kind
                    && let Ok(number) = <$Inner>::try_from(number)
                    && ($range).contains(&number)
                {
                    return Some($Name(number));
                }
                let wrong = match &node.kind {
                    Kind::Text(text) if text.parse::<$Inner>().is_ok_and(|number| ($range).contains(&number)) => {
                        Wrong::why("a number is needed: write it without quotes")
                    }
                    _ => Wrong::default(),
                };
                errors.add(&node.place, wrong.problem(node, concat!("allowed: ", $allowed)));
                None
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": *($range).start(), "maximum": *($range).end() })
            }
        }
    };
}

whole! {
    /// A number that may be zero.
    Count(u32), 0u32..=u32::MAX, "a whole number from 0"
}
whole! {
    /// Faults that a plugin may have; none are counted at zero.
    Faults(u32), 0u32..=10_000, "a whole number from 0 (never disabled) to 10000"
}
whole! {
    /// A number of at least one.
    Positive(u32), 1u32..=u32::MAX, "a whole number from 1"
}
whole! {
    /// Connections of one worker to one server.
    Lanes(u32), 1u32..=64, "a whole number from 1 to 64"
}
whole! {
    /// A port.
    PortNumber(u16), 1u16..=u16::MAX, "a port from 1 to 65535"
}
whole! {
    /// An HTTP status.
    Status(u16), 100u16..=599, "a status from 100 to 599"
}
whole! {
    /// A thread count; zero is one per core.
    Workers(u32), 0u32..=1024, "a whole number from 0 (one per core) to 1024"
}

/// A number over zero, whole or not.
#[derive(Clone, Debug)]
pub struct Ratio(pub f64);

impl From<f64> for Ratio {
    fn from(value: f64) -> Ratio {
        Ratio(value)
    }
}

impl Written for Ratio {
    fn written(&self) -> Json {
        self.0.into()
    }
}

impl Value for Ratio {
    fn read(node: &Node, errors: &mut Errors) -> Option<Ratio> {
        let number = match node.kind {
            Kind::Int(number) => number as f64,
            Kind::Float(number) => number,
            _ => f64::NAN,
        };
        if number > 0.0 && number <= 1e12 {
            return Some(Ratio(number));
        }
        errors.add(&node.place, Wrong::default().problem(node, "allowed: a number over 0, such as 50 or 1.2"));
        None
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1e12 })
    }
}

impl Value for bool {
    fn read(node: &Node, errors: &mut Errors) -> Option<bool> {
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        let near = match &node.kind {
            Kind::Text(text) => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("true".to_owned()),
                "no" | "off" | "n" | "false" => Some("false".to_owned()),
                _ => None,
            },
            _ => None,
        };
        errors.add(&node.place, Wrong::near(near).problem(node, "allowed: true or false"));
        None
    }
}

impl Written for bool {
    fn written(&self) -> Json {
        (*self).into()
    }
}
