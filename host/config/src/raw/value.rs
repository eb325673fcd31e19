//! How a value is read from the tree: [`Value`], and the table that makes a section of keys.

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json};

use crate::error::{Errors, Place, Problem};
use crate::node::{Entry, Kind, Node};

/// Something that can be written in a file.
pub trait Value: JsonSchema + Sized {
    /// `None` if it is not what it should be: the error has been added then, and reading goes on
    /// beside it.
    fn read(node: &Node, errors: &mut Errors) -> Option<Self>;
}

/// A value that can stand as a default in the schema, as it would be written.
pub trait Written {
    fn written(&self) -> Json;
}

/// A value and where it stands; for a default, where its section stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A list without the items that could not be read.
#[derive(Clone, Debug)]
pub struct List<T> {
    pub items: Vec<At<T>>,
    /// False if an item could not be read.
    pub complete: bool,
}

/// One key of a section, for its schema.
pub struct KeyFacts {
    pub name: &'static str,
    pub about: String,
    pub schema: Schema,
    pub default: Option<Json>,
    pub required: bool,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for List<T> {
    type Target = [At<T>];

    fn deref(&self) -> &[At<T>] {
        &self.items
    }
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { items: Vec::new(), complete: true }
    }
}

impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(items: [T; N]) -> List<T> {
        List { items: items.map(|value| At { value, place: Place::root() }).into(), complete: true }
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> List<T> {
        List { items: items.into_iter().map(|value| At { value, place: Place::root() }).collect(), complete: true }
    }
}

impl<T: Written> Written for List<T> {
    fn written(&self) -> Json {
        self.iter().map(|item| item.value.written()).collect()
    }
}

impl<T: Value> Value for List<T> {
    fn read(node: &Node, errors: &mut Errors) -> Option<List<T>> {
        let Kind::List(nodes) = &node.kind else {
            errors.add(&node.place, Problem::found(format!("found {}", node.describe())).allowed("allowed: a list"));
            return None;
        };
        let items: Vec<At<T>> = nodes
            .iter()
            .filter_map(|item| Some(At { value: T::read(item, errors)?, place: item.place.clone() }))
            .collect();
        Some(List { complete: items.len() == nodes.len(), items })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("List_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }
}

/// The entry of `key`, if it is written and not empty.
pub fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Kind::Map(entries) = &node.kind else { return None };
    let found = entries.iter().find(|entry| entry.key == key)?;
    (!matches!(found.value.kind, Kind::Null)).then_some(&found.value)
}

/// Whether `node` is a map at all (an empty one counts); says which keys it may not have.
pub fn open(node: &Node, keys: &[&'static str], errors: &mut Errors) -> Option<()> {
    let entries = match &node.kind {
        Kind::Null => return Some(()),
        Kind::Map(entries) => entries,
        _ => {
            let problem = Problem::found(format!("found {}", node.describe()));
            errors.add(&node.place, problem.allowed(format!("allowed: a map of {}", keys.join(", "))));
            return None;
        }
    };
    refuse_repeated(entries, errors);
    for entry in entries {
        if !keys.contains(&entry.key.as_str()) {
            let found = format!("unknown key \"{}\"", crate::node::shorten(&entry.key));
            errors.add(&entry.place, Problem::none_of(found, "keys are", &entry.key, keys.iter().copied()));
        }
    }
    Some(())
}

/// YAML wants its keys unique; which of two is meant, nobody can tell.
pub fn refuse_repeated(entries: &[Entry], errors: &mut Errors) -> Option<()> {
    let mut first_lines = BTreeMap::new();
    let mut unique = Some(());
    for entry in entries {
        match first_lines.get(entry.key.as_str()) {
            Some(first) => {
                errors.add(&entry.place, Problem::found(format!("given twice; first on line {first}")));
                unique = None;
            }
            None => {
                first_lines.insert(entry.key.as_str(), entry.place.line);
            }
        }
    }
    unique
}

pub fn read_at<T: Value>(node: &Node, key: &str, errors: &mut Errors) -> Option<At<T>> {
    let node = entry(node, key)?;
    Some(At { value: T::read(node, errors)?, place: node.place.clone() })
}

pub fn read_required<T: Value>(node: &Node, key: &str, about: &str, errors: &mut Errors) -> Option<At<T>> {
    if entry(node, key).is_none() {
        let first = about.split_once(['.', ';', ':']).map_or(about, |(first, _)| first).trim();
        let (initial, rest) = first.split_at_checked(1).unwrap_or_default();
        let needed = format!("needed: {}{rest}", initial.to_lowercase());
        errors.add(&node.place.key(key), Problem::found("missing").allowed(needed));
    }
    read_at(node, key, errors)
}

pub fn read_or<T: Value>(node: &Node, key: &str, default: T, errors: &mut Errors) -> At<T> {
    read_at(node, key, errors).unwrap_or_else(|| At { value: default, place: node.place.key(key) })
}

/// A section that is not written is one without keys: all its defaults hold.
pub fn read_section<T: Value>(node: &Node, key: &str, errors: &mut Errors) -> T {
    entry(node, key).and_then(|section| T::read(section, errors)).unwrap_or_else(|| {
        let empty = Node { place: node.place.key(key), kind: Kind::Null };
        T::read(&empty, errors).expect("a section of defaults reads from nothing")
    })
}

/// A list that is not written is empty.
pub fn read_list<T: Value>(node: &Node, key: &str, errors: &mut Errors) -> List<T> {
    let Some(list) = entry(node, key) else { return List::default() };
    List::read(list, errors).unwrap_or(List { items: Vec::new(), complete: false })
}

pub fn section_schema(about: &str, keys: Vec<KeyFacts>) -> Schema {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let mut schema = key.schema;
        schema.insert("description".to_owned(), key.about.into());
        if let Some(default) = key.default {
            schema.insert("default".to_owned(), default);
        }
        if key.required {
            required.push(Json::from(key.name));
        }
        properties.insert(key.name.to_owned(), schema.into());
    }
    json_schema!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// `concat!` of doc lines, as one text.
pub fn about(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn key_name(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

/// A section of the file as one table: per key its doc (the schema's description), whether it is
/// `required`, `optional`, has a `default`, is a `section` whose keys all have defaults, or a
/// `list` that is empty unless given.
/// From it come the struct, its reader and its schema, which therefore cannot disagree.
macro_rules! keys {
    (@type required $T:ty) => { Option<$crate::raw::value::At<$T>> };
    (@type optional $T:ty) => { Option<$crate::raw::value::At<$T>> };
    (@type default $T:ty) => { $crate::raw::value::At<$T> };
    (@type section $T:ty) => { $T };
    (@type list $T:ty) => { $crate::raw::value::List<$T> };

    (@shape list $T:ty) => { $crate::raw::value::List<$T> };
    (@shape $kind:ident $T:ty) => { $T };

    (@read required $node:ident $errors:ident $name:expr, $about:expr,) => {
        $crate::raw::value::read_required($node, $name, $about, $errors)
    };
    (@read optional $node:ident $errors:ident $name:expr, $about:expr,) => {
        $crate::raw::value::read_at($node, $name, $errors)
    };
    (@read default $node:ident $errors:ident $name:expr, $about:expr, $default:expr) => {
        $crate::raw::value::read_or($node, $name, From::from($default), $errors)
    };
    (@read section $node:ident $errors:ident $name:expr, $about:expr,) => {
        $crate::raw::value::read_section($node, $name, $errors)
    };

    (@read list $node:ident $errors:ident $name:expr, $about:expr,) => {
        $crate::raw::value::read_list($node, $name, $errors)
    };

    (@written default $T:ty, $default:expr) => {
        Some($crate::raw::value::Written::written(&<$T>::from($default)))
    };
    (@written list $T:ty,) => { Some(serde_json::Value::Array(Vec::new())) };
    (@written $kind:ident $T:ty,) => { None };

    ($(#[doc = $doc:literal])+ pub struct $Name:ident {
        $( $(#[doc = $key_doc:literal])+ $kind:ident $field:ident : $T:ty $(= $default:expr)? ),* $(,)?
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name {
            #[allow(dead_code, reason = "not every section is complained about as a whole")]
            pub place: $crate::error::Place,
            $( $(#[doc = $key_doc])+ pub $field: $crate::raw::value::keys!(@type $kind $T), )*
        }

        impl $crate::raw::value::Value for $Name {
            fn read(node: &$crate::node::Node, errors: &mut $crate::error::Errors) -> Option<$Name> {
                let keys = [$( $crate::raw::value::key_name(stringify!($field)) ),*];
                $crate::raw::value::open(node, &keys, errors)?;
                Some($Name {
                    place: node.place.clone(),
                    $( $field: $crate::raw::value::keys!(@read $kind node errors
                        $crate::raw::value::key_name(stringify!($field)),
                        concat!($($key_doc),+).trim(),
                        $($default)?), )*
                })
            }
        }

        impl schemars::JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let keys = vec![$( $crate::raw::value::KeyFacts {
                    name: $crate::raw::value::key_name(stringify!($field)),
                    about: $crate::raw::value::about(concat!($($key_doc, " "),+)),
                    schema: generator.subschema_for::<$crate::raw::value::keys!(@shape $kind $T)>(),
                    default: $crate::raw::value::keys!(@written $kind $T, $($default)?),
                    required: stringify!($kind) == "required",
                } ),*];
                $crate::raw::value::section_schema(&$crate::raw::value::about(concat!($($doc, " "),+)), keys)
            }
        }
    };
}

pub(crate) use keys;
