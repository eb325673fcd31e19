//! Values that are written as one text (or number) and mean something checked. Each form says what
//! is allowed in the words of its errors.
//!
//! - here: texts, names and file paths, and what all forms of text have in common.
//! - [`measure`]: durations and sizes. [`number`]: numbers and booleans. [`money`]: shares and sums. [`word`]: closed sets.
//! - [`address`]: where something listens. [`store`]: where a key-value store is. [`http`]: parts of requests. [`pattern`]: patterns for
//!   them. [`time`]: schedules.
//! - [`module`]: where a plugin's code is fetched from.
//! - [`capability`]: what a plugin may be granted. [`pairs`]: maps with keys of the writer's own.

mod address;
mod capability;
mod http;
mod measure;
mod module;
mod money;
mod number;
mod pairs;
mod pattern;
mod store;
mod time;
mod word;

use crate::error::Problem;
use crate::node::{Kind, Node};

pub use address::{Address, AggregatorUrl, HostPort, Ip};
pub use capability::{Capability, NAMED_CAPABILITIES, PLAIN_CAPABILITIES};
pub use http::{HeaderName, HeaderValue, Host, Method, UrlPath};
pub(crate) use measure::written_duration;
pub use measure::{Period, Size, Span};
pub use module::{Authority, HttpsUrl, ModuleAt, ModulePlace, Sha256};
pub use money::{Money, Share, Tolerance};
pub use number::{Count, Faults, Lanes, PortNumber, Positive, Ratio, Status, Workers};
pub use pairs::Pairs;
pub use pattern::Pattern;
pub use store::{EnvName, RedisUrl};
pub use time::{CronText, Days, DaysText, Moment, Zone};
pub use word::{Alpn, Protocol};

/// A text that is read by `$read`: `Ok`, or why not (what is allowed is added to it).
macro_rules! form {
    ($(#[doc = $doc:literal])+ $Name:ident($Inner:ty), $allowed:literal, $schema:tt, $read:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name(pub $Inner);

        impl $crate::raw::value::Value for $Name {
            fn read(node: &$crate::node::Node, errors: &mut $crate::error::Errors) -> Option<$Name> {
                use $crate::node::Kind;

                let read: fn(&str) -> Result<$Inner, Wrong> = $read;
                let wrong = match &node.kind {
                    Kind::Text(text) => match read(text) {
                        Ok(value) => return Some($Name(value)),
                        Err(wrong) => wrong,
                    },
                    Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) => {
                        let mut wrong = Wrong::default();
                        // Without quotes YAML reads a number or a boolean: `name: 1`, `exact: true`.
                        if let Some(text) = $crate::raw::form::plain(node).filter(|text| read(text).is_ok()) {
                            wrong.why = Some(format!("a text is needed: write \"{text}\" with its quotes"));
                        }
                        wrong
                    }
                    _ => Wrong::default(),
                };
                errors.add(&node.place, wrong.problem(node, concat!("allowed: ", $allowed)));
                None
            }
        }

        impl schemars::JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema: schemars::Schema = schemars::json_schema!($schema);
                schema.insert("type".to_owned(), "string".into());
                schema.insert("description".to_owned(), $crate::raw::value::about(concat!($($doc, " "),+)).into());
                schema
            }
        }
    };
}

/// Forms of text whose keys have defaults.
macro_rules! defaults {
    ($Name:ident) => {
        impl From<&str> for $Name {
            fn from(text: &str) -> $Name {
                $Name(text.to_owned())
            }
        }

        impl $crate::raw::value::Written for $Name {
            fn written(&self) -> serde_json::Value {
                self.0.as_str().into()
            }
        }
    };
}

use {defaults, form};

/// Why a text is not of its form, as far as there is more to say than what is allowed.
#[derive(Default)]
struct Wrong {
    /// Found, in words that do not repeat it.
    instead: Option<&'static str>,
    why: Option<String>,
    near: Option<String>,
}

impl Wrong {
    fn why(why: impl Into<String>) -> Wrong {
        Wrong { why: Some(why.into()), ..Wrong::default() }
    }

    /// What was found is not to be shown.
    fn secret(found: &'static str, why: &str) -> Wrong {
        Wrong { instead: Some(found), ..Wrong::why(why) }
    }

    fn near(near: Option<String>) -> Wrong {
        Wrong { near, ..Wrong::default() }
    }

    fn problem(self, node: &Node, allowed: &str) -> Problem {
        let described = self.instead.map_or_else(|| node.describe(), str::to_owned);
        let found = match self.why {
            Some(why) => format!("found {described} ({why})"),
            None => format!("found {described}"),
        };
        Problem::found(found).allowed(allowed).near(self.near)
    }
}

/// A value that YAML read as something else than text, as it stands in the file.
fn plain(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(value.to_string()),
        Kind::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

form! {
    /// Any text.
    Text(String), "a text", {}, |text| Ok(text.to_owned())
}

form! {
    /// A name: letters, digits, `-`, `_` and `.`, starting with a letter or digit, at most 63.
    Name(String),
    "a name of letters, digits, '-', '_' and '.', at most 63, the first a letter or digit",
    { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" },
    |text| {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if fits { Ok(text.to_owned()) } else { Err(Wrong::default()) }
    }
}

form! {
    /// The name of a queue: a name, or that of a plugin, a slash and a name.
    QueueName(String),
    "a name, or <plugin>/<name>; of letters, digits, '-', '_' and '.', at most 63 each",
    { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}(/[A-Za-z0-9][A-Za-z0-9._-]{0,62})?$" },
    |text| {
        let fits = |part: &str| {
            (1..=63).contains(&part.len())
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
        if fits(first) && rest.is_none_or(fits) { Ok(text.to_owned()) } else { Err(Wrong::default()) }
    }
}

form! {
    /// A path of a file; a relative one is relative to the folder of this file.
    FilePath(String), "a path", { "minLength": 1 },
    |text| if text.is_empty() || text.contains('\0') { Err(Wrong::default()) } else { Ok(text.to_owned()) }
}

defaults!(Text);
defaults!(Name);
