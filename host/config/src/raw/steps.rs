//! The keys `step_up` and `step_down` of a pool's scaling: a number, a map, or a list of maps that all hold.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Count, Period, Positive};
use super::value::{At, Value, keys};
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};

/// How many at most.
#[derive(Clone, Debug)]
pub struct Steps(pub Vec<At<StepMap>>);

keys! {
    /// A limit on how fast a count may move; of `origins` and `percent` the one that allows more.
    pub struct StepMap {
        /// So many. Default: none, and `percent` is needed.
        optional origins: Count,
        /// So many for each hundred that there were, rounded up. Default: none, and `origins` is needed.
        optional percent: Count,
        /// In any time of this length. Default: in one decision.
        optional within: Period,
    }
}

impl Value for Steps {
    fn read(node: &Node, errors: &mut Errors) -> Option<Steps> {
        let at = |node: &Node, map| At { value: map, place: node.place.clone() };
        match &node.kind {
            Kind::Map(_) => Some(Steps(vec![at(node, StepMap::read(node, errors)?)])),
            Kind::List(items) => {
                if items.is_empty() {
                    let problem = Problem::found("found an empty list");
                    errors
                        .add(&node.place, problem.allowed("needed: a number, a map, or a list with at least one map"));
                    return None;
                }
                // Each is read, so that all errors are told.
                let read: Vec<_> = items.iter().map(|item| Some(at(item, StepMap::read(item, errors)?))).collect();
                read.into_iter().collect::<Option<_>>().map(Steps)
            }
            _ => {
                let origins = Positive::read(node, errors)?.0;
                let origins = Some(At { value: Count(origins), place: node.place.clone() });
                Some(Steps(vec![at(node, StepMap { place: node.place.clone(), origins, percent: None, within: None })]))
            }
        }
    }
}

impl JsonSchema for Steps {
    fn schema_name() -> Cow<'static, str> {
        "Steps".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<StepMap>();
        json_schema!({
            "description": "how many at most: a number in one decision, a map, or a list of maps that all hold",
            "oneOf": [generator.subschema_for::<Positive>(), map, { "type": "array", "minItems": 1, "items": map }],
        })
    }
}
