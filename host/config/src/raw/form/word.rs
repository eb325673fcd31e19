//! Closed sets of words.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::error::{Errors, Problem};
use crate::manifest::Engine;
use crate::node::{Kind, Node, shorten};
use crate::raw::signal::Source;
use crate::raw::value::{Value, Written};
use crate::region::{
    Balance, ClientCertificate, DayName, FaultPolicy, HintKind, Isolation, LimitMode, LogFormat, Over, Per, ScalingMode,
};
use crate::spec::scale::{Rule, Way};
use crate::spec::{Failure, Level};

/// A closed set of words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $Name:ty { $($word:literal => $variant:path : $about:literal),+ $(,)? }) => {
        impl Written for $Name {
            fn written(&self) -> Json {
                match self { $($variant => $word.into(),)+ }
            }
        }

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                let word = match &node.kind {
                    Kind::Text(text) => match text.as_str() {
                        $($word => return Some($variant),)+
                        other => other,
                    },
                    _ => "",
                };
                let found = format!("found {}", node.describe());
                errors.add(&node.place, Problem::none_of(found, "allowed", &shorten(word), [$($word),+]));
                None
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": crate::raw::value::about(concat!($($doc),+)),
                    "oneOf": [$({ "const": $word, "description": $about }),+],
                })
            }
        }
    };
}

/// A version of HTTP that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

words! {
    /// A version of HTTP that a listener speaks.
    Protocol { "http1" => Protocol::Http1: "HTTP/1.1", "http2" => Protocol::Http2: "HTTP/2" }
}

/// A protocol's name in the TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    H2,
    Http11,
}

words! {
    /// A protocol's name in the TLS handshake.
    Alpn { "h2" => Alpn::H2: "HTTP/2", "http/1.1" => Alpn::Http11: "HTTP/1.1" }
}

words! {
    /// Whether a client needs a certificate. One that it shows is checked always.
    ClientCertificate {
        "required" => ClientCertificate::Required: "without one there is no connection",
        "optional" => ClientCertificate::Optional: "plugins are told whether there was one",
    }
}

words! {
    /// How log lines look.
    LogFormat { "json" => LogFormat::Json: "one object a line", "pretty" => LogFormat::Pretty: "for a terminal" }
}

words! {
    /// What happens to an exchange whose plugin failed.
    FaultPolicy {
        "closed" => FaultPolicy::Closed: "503",
        "open" => FaultPolicy::Open: "go on without the plugin",
        "last_good" => FaultPolicy::LastGood: "the version before it serves in its place",
    }
}

words! {
    /// What the exchanges of a plugin share.
    Isolation {
        "worker" => Isolation::Worker: "one instance on each worker for all exchanges there",
        "exchange" => Isolation::Exchange: "an instance for each exchange, used once",
    }
}

words! {
    /// What passing a limit means.
    LimitMode {
        "enforce" => LimitMode::Enforce: "a fault or a refusal",
        "shadow" => LimitMode::Shadow: "a line of the log and a count; at ten times the limit a fault all the same",
    }
}

words! {
    /// How far scaling may go by itself. Floor and ceiling hold in every mode.
    ScalingMode {
        "off" => ScalingMode::Off: "no rule is asked; the count that stands stays",
        "shadow" => ScalingMode::Shadow: "decisions are made and recorded; the count that stands stays",
        "advise" => ScalingMode::Advise: "the same, and what it would have is shown as advice",
        "up-only" => ScalingMode::UpOnly: "carried out, but no origin is taken away",
        "on" => ScalingMode::On: "carried out",
    }
}

words! {
    /// What is measured.
    Source {
        "requests" => Source::Requests: "requests a second that were offered, refused ones included",
        "in_flight" => Source::InFlight: "exchanges with origins at one time",
        "latency" => Source::Latency: "time to the first byte; keeps origins or asks for more, never for fewer",
        "queue" => Source::Queue: "items in a queue of plugins",
        "metric" => Source::Metric: "what plugins count (a second) or set",
        "origin" => Source::Origin: "what each origin shows as a Prometheus text",
    }
}

words! {
    /// How a value of an origin is read.
    Per { "rate" => Per::Rate: "it counts up: what comes in a second", "gauge" => Per::Gauge: "as it is" }
}

words! {
    /// What the values of several origins come to.
    Over {
        "sum" => Over::Sum: "each tells of itself",
        "mean" => Over::Mean: "each tells of the same",
        "max" => Over::Max: "each tells of the same, and who tells of the most is believed",
    }
}

words! {
    /// What a plugin may say of what is coming.
    HintKind {
        "demand" => HintKind::Demand: "requests a second that will come through the edge",
        "cost" => HintKind::Cost: "how many requests this one counts for",
        "prewarm" => HintKind::Prewarm: "origins that shall serve by a time",
        "hold" => HintKind::Hold: "no origin is taken away",
    }
}

words! {
    /// A weekday.
    DayName {
        "monday" => DayName::Monday: "Monday",
        "tuesday" => DayName::Tuesday: "Tuesday",
        "wednesday" => DayName::Wednesday: "Wednesday",
        "thursday" => DayName::Thursday: "Thursday",
        "friday" => DayName::Friday: "Friday",
        "saturday" => DayName::Saturday: "Saturday",
        "sunday" => DayName::Sunday: "Sunday",
    }
}

words! {
    /// How an origin is picked.
    Balance {
        "round_robin" => Balance::RoundRobin: "each in turn",
        "least_requests" => Balance::LeastRequests: "the one with fewer requests in flight, of two picked at random",
    }
}

words! {
    /// What runs a plugin.
    Engine { "lua" => Engine::Lua: "LuaJIT: main.lua", "wasm" => Engine::Wasm: "proxy-wasm: a package with a Cargo.toml" }
}

words! {
    /// How an origin or the target of a callout fails in a test.
    Failure {
        "timeout" => Failure::Timeout: "it never answers",
        "unavailable" => Failure::Unavailable: "it closes the connection without an answer",
    }
}

words! {
    /// How grave a log line is.
    Level {
        "trace" => Level::Trace: "trace",
        "debug" => Level::Debug: "debug",
        "info" => Level::Info: "info",
        "warn" => Level::Warn: "warn",
        "error" => Level::Error: "error",
        "critical" => Level::Critical: "critical",
    }
}

words! {
    /// A policy that proposes before the scripts are asked.
    Rule {
        "reactive" => Rule::Reactive: "by the load as it is",
        "predictive" => Rule::Predictive: "by the load that is coming",
        "schedule" => Rule::Schedule: "by the calendar",
    }
}

words! {
    /// How a forecast came about.
    Way {
        "cold" => Way::Cold: "under two hours are known",
        "untuned" => Way::Untuned: "nothing was chosen yet",
        "tuned" => Way::Tuned: "by what would have been cheapest",
    }
}
