//! The key `lead` of a pool's scaling: a time, which is meant, or a map, which is where learning begins.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Period, Span};
use super::value::{At, Value, keys};
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::region;

/// From the decision to capacity that serves.
#[derive(Clone, Debug)]
pub enum Lead {
    /// Whoever writes a time means it.
    Fixed(Duration),
    Learned(Box<LeadMap>),
}

keys! {
    /// A lead that is learned from the origins that are started.
    pub struct LeadMap {
        /// What holds until five origins have come into service.
        default initial: Span = region::Scaling::LEAD,
        /// Never shorter than this, whatever was measured.
        default at_least: Span = region::LeadBounds::AT_LEAST,
        /// Never longer than this, whatever was measured.
        default at_most: Period = region::LeadBounds::AT_MOST,
    }
}

impl Lead {
    /// Before anything is learned. Nobody chose the lead that is not written: what is measured is better.
    pub fn initial(lead: Option<&At<Lead>>) -> Duration {
        match lead.map(|lead| &lead.value) {
            None => region::Scaling::LEAD,
            Some(Lead::Fixed(lead)) => *lead,
            Some(Lead::Learned(map)) => map.initial.0,
        }
    }
}

impl Value for Lead {
    fn read(node: &Node, errors: &mut Errors) -> Option<Lead> {
        match &node.kind {
            Kind::Map(_) => Some(Lead::Learned(Box::new(LeadMap::read(node, errors)?))),
            _ => Some(Lead::Fixed(Span::read(node, errors)?.0)),
        }
    }
}

impl JsonSchema for Lead {
    fn schema_name() -> Cow<'static, str> {
        "Lead".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "from the decision to capacity that serves; a time is fixed, a map is learned",
            "oneOf": [generator.subschema_for::<Span>(), generator.subschema_for::<LeadMap>()],
        })
    }
}
