//! `plugin.yaml`, which stands beside a plugin's code.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::form::{Capability, Name, Text};
use super::plugin::{Freeform, RouteLimits};
use super::value::{Value, keys};
use crate::error::Errors;
use crate::manifest::Engine;
use crate::node::Node;

keys! {
    /// What a plugin is, and what it needs.
    pub struct Manifest {
        /// The plugin's name.
        required name: Name,
        /// What runs it.
        required engine: Engine,
        /// What it is for, in a sentence.
        default description: Text = "",
        /// What its configuration may hold, for people: a map of key to text, or a text.
        optional config: Freeform,
        /// What it must be granted to work.
        list capabilities: Capability,
        /// What it should be allowed to use; the defaults where not given.
        optional limits: Kept<RouteLimits>,
        /// The callbacks that it has, for people; `forebay plugin lint` holds them against its code.
        list callbacks: Text,
    }
}

/// Read as a `T`, for its errors, and handed on as JSON: it becomes a part of a region file, which
/// says what it means.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    pub json: String,
    read: PhantomData<T>,
}

impl<T: Value> Value for Kept<T> {
    fn read(node: &Node, errors: &mut Errors) -> Option<Kept<T>> {
        T::read(node, errors)?;
        Freeform::read(node, errors).map(|Freeform(json)| Kept { json, read: PhantomData })
    }
}

impl<T: JsonSchema> JsonSchema for Kept<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}
