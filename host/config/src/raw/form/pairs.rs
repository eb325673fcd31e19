//! A map whose keys are the writer's own: names of headers, of metrics, of values.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::raw::value::{At, Value, refuse_repeated};

/// In the order of the file.
#[derive(Clone, Debug)]
pub struct Pairs<T>(pub Vec<(String, At<T>)>);

impl<T> Default for Pairs<T> {
    fn default() -> Pairs<T> {
        Pairs(Vec::new())
    }
}

impl<T: Value> Value for Pairs<T> {
    fn read(node: &Node, errors: &mut Errors) -> Option<Pairs<T>> {
        let Kind::Map(entries) = &node.kind else {
            errors.add(&node.place, Problem::found(format!("found {}", node.describe())).allowed("allowed: a map"));
            return None;
        };
        refuse_repeated(entries, errors)?;
        let read = |entry: &crate::node::Entry| {
            let value = T::read(&entry.value, errors)?;
            Some((entry.key.clone(), At { value, place: entry.place.clone() }))
        };
        let pairs: Vec<_> = entries.iter().map(read).collect();
        pairs.into_iter().collect::<Option<_>>().map(Pairs)
    }
}

impl<T: JsonSchema> JsonSchema for Pairs<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}
