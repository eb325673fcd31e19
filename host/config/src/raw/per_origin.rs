//! The key `per_origin` of a signal: a number, which is meant, or a map, which is where learning begins.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Period, Ratio};
use super::value::{Value, keys};
use crate::error::Errors;
use crate::node::{Kind, Node};

/// What one origin carries.
#[derive(Clone, Debug)]
pub enum PerOrigin {
    /// Whoever writes a number means it.
    Fixed(f64),
    Learned(Box<PerOriginMap>),
}

keys! {
    /// Requests a second that one origin carries, learned from what origins were seen to carry.
    pub struct PerOriginMap {
        /// Where learning begins, and what drift is measured by.
        required initial: Ratio,
        /// Never less than this. Default: half of it.
        optional at_least: Ratio,
        /// Never more than this. Default: twice as much.
        optional at_most: Ratio,
        /// What an origin carries, it answers within this.
        required latency: Period,
        /// Which part of the answers is within it. Default: 0.99.
        optional quantile: Ratio,
    }
}

impl Value for PerOrigin {
    fn read(node: &Node, errors: &mut Errors) -> Option<PerOrigin> {
        match &node.kind {
            Kind::Map(_) => Some(PerOrigin::Learned(Box::new(PerOriginMap::read(node, errors)?))),
            _ => Some(PerOrigin::Fixed(Ratio::read(node, errors)?.0)),
        }
    }
}

impl JsonSchema for PerOrigin {
    fn schema_name() -> Cow<'static, str> {
        "PerOrigin".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "what one origin carries; a number is fixed, a map (of requests) is learned",
            "oneOf": [generator.subschema_for::<Ratio>(), generator.subschema_for::<PerOriginMap>()],
        })
    }
}
