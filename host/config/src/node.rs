//! A file as a tree of values, each with its place. YAML, and JSON as its subset.
//!
//! serde's derived types stop at the first error; a tree that knows its places can be walked to
//! the end, so a file shows all its errors at once.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use crate::error::{Place, Problem};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may stand twice, which its reader refuses.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    /// Where the key stands, with the path of the value.
    pub place: Place,
    pub value: Node,
}

/// Deep enough for any region file and for plugin configuration, and far from the stack's end.
const DEPTH: usize = 64;

impl Node {
    /// An error of syntax, with its place.
    pub fn parse(text: &str) -> Result<Node, (Place, Problem)> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEPTH },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        // A file of comments has no document; it means the same as an empty one.
        let read = serde_saphyr::from_str_with_options::<Option<Spanned<Parsed>>>(text, options);
        match read {
            Ok(Some(tree)) => Ok(tree.value.place(Place::root().at(1, 1))),
            Ok(None) => Ok(Node { place: Place::root().at(1, 1), kind: Kind::Null }),
            Err(error) => {
                let (line, column) = error.location().map_or((1, 1), position);
                Err((Place::root().at(line, column), refusal(error.without_snippet())))
            }
        }
    }

    /// For `found …`: the value, and what it is.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("{value}"),
            Kind::Int(value) => format!("the number {value}"),
            Kind::Float(value) => format!("the number {value}"),
            Kind::Text(value) => format!("\"{}\"", shorten(value)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }
}

/// Long texts are cut in messages.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

fn refusal(error: &serde_saphyr::Error) -> Problem {
    let text = error.to_string();
    match error {
        // Depth, size, or aliases of aliases that would grow to it; known by its text, as it comes
        // wrapped where it is found within an alias.
        _ if text.contains("budget breached") => {
            Problem::found("more values, or deeper ones, than a region file may hold")
        }
        serde_saphyr::Error::MultipleDocuments { .. } => {
            Problem::found("a second document after \"---\"").allowed("allowed: one document")
        }
        _ => Problem::found(format!("not YAML: {}", without_place(&text))),
    }
}

/// The reader's message has the place at its end, which the error has already.
fn without_place(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.find(" at line ").map_or(line, |end| &line[..end]);
    line.chars().filter(|c| !c.is_control()).collect()
}

fn position(location: Location) -> (u32, u32) {
    let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(location.line()).max(1), narrow(location.column()).max(1))
}

/// As the reader hands it over: places as lines and columns, not yet as paths.
enum Parsed {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<String>, Spanned<Parsed>)>),
}

impl Parsed {
    fn place(self, place: Place) -> Node {
        let kind = match self {
            Parsed::Null => Kind::Null,
            Parsed::Bool(value) => Kind::Bool(value),
            Parsed::Int(value) => Kind::Int(value),
            Parsed::Float(value) => Kind::Float(value),
            Parsed::Text(value) => Kind::Text(value),
            Parsed::List(items) => Kind::List(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| {
                        let (line, column) = position(item.referenced);
                        item.value.place(place.index(i).at(line, column))
                    })
                    .collect(),
            ),
            Parsed::Map(entries) => {
                Kind::Map(entries.into_iter().map(|(key, value)| placed_entry(&place, key, value)).collect())
            }
        };
        Node { place, kind }
    }
}

fn placed_entry(map: &Place, key: Spanned<String>, value: Spanned<Parsed>) -> Entry {
    let (line, column) = position(key.referenced);
    let place = map.key(&key.value).at(line, column);
    // A block below its key is looked for at the key, a scalar beside it at the scalar.
    let beside = position(value.referenced);
    let at = if beside.0 == line { beside } else { (line, column) };
    let value = value.value.place(place.clone().at(at.0, at.1));
    Entry { key: key.value, place, value }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Int(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Int(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Parsed, E> {
        Ok(Parsed::Int(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Parsed, E> {
        Ok(i128::try_from(value).map_or_else(|_| Parsed::Text(value.to_string()), Parsed::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Parsed, E> {
        Ok(Parsed::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Parsed, E> {
        Ok(Parsed::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Parsed, E> {
        Ok(Parsed::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Parsed::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Parsed::Map(map))
    }
}

/// As JSON, keys in the order of the file: how a plugin gets its configuration.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            Kind::Null => serializer.serialize_unit(),
            Kind::Bool(value) => serializer.serialize_bool(*value),
            Kind::Int(value) => serializer.serialize_i128(*value),
            Kind::Float(value) => serializer.serialize_f64(*value),
            Kind::Text(value) => serializer.serialize_str(value),
            Kind::List(items) => serializer.collect_seq(items),
            Kind::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(&entry.key, &entry.value)?;
                }
                map.end()
            }
        }
    }
}
