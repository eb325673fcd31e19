//! The key `warm_pool` of a pool's scaling.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Count, Positive, Ratio};
use super::value::{Value, keys};
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::region;

keys! {
    /// Origins that have booted and wait, beside those that serve: they join without a boot.
    pub struct WarmPool {
        /// How many, or `auto`: those that may be needed before another has booted, as the predictive rule foresees.
        required size: WarmSize,
        /// Never more. Default: the size, if it is a number; otherwise 5.
        optional at_most: Positive,
        /// What one that waits costs, in what one that serves does.
        default cost: Ratio = region::WarmPool::COST,
    }
}

/// A number, or `auto`.
#[derive(Clone, Debug)]
pub struct WarmSize(pub region::WarmSize);

impl Value for WarmSize {
    fn read(node: &Node, errors: &mut Errors) -> Option<WarmSize> {
        match &node.kind {
            Kind::Text(text) if text == "auto" => Some(WarmSize(region::WarmSize::Auto)),
            Kind::Text(text) => {
                let found = format!("found {}", node.describe());
                let problem = Problem::none_of(found, "a whole number from 0, or the word", text, ["auto"]);
                errors.add(&node.place, problem);
                None
            }
            _ => Some(WarmSize(region::WarmSize::Fixed(Count::read(node, errors)?.0))),
        }
    }
}

impl JsonSchema for WarmSize {
    fn schema_name() -> Cow<'static, str> {
        "WarmSize".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "how many origins wait",
            "oneOf": [
                { "const": "auto", "description": "what may be needed before another has booted" },
                generator.subschema_for::<Count>(),
            ],
        })
    }
}
