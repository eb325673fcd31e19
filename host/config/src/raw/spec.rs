//! `spec.yaml`: the cases of `forebay plugin test`, beside a plugin.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Capability, Method, Pairs, Period, Positive, Span, Status, Text, UrlPath};
use super::manifest::Kept;
use super::plugin::{Freeform, RouteLimits};
use super::route::Headers;
use super::value::{At, List, Value, keys};
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::region::FaultPolicy;
use crate::spec::{Answer, Failure, Level};

keys! {
    /// One case: a plugin on a route of its own, what happens, and what is expected.
    pub struct Case {
        /// What holds, as a sentence.
        required name: Text,
        /// Told to `on_configure`: a text as it is, a map or list as JSON.
        optional config: Freeform,
        /// Told to `on_vm_start`.
        optional vm_config: Freeform,
        /// In place of those of plugin.yaml.
        optional capabilities: List<Capability>,
        /// Over those of plugin.yaml.
        optional limits: Kept<RouteLimits>,
        /// What happens to an exchange whose plugin failed.
        optional on_fault: FaultPolicy,
        /// Sections of a region file that the plugin's calls need, such as `pools` or `dicts`.
        optional region: Freeform,
        /// The time at its begin: seconds since 1970.
        default time: Seconds = crate::spec::TIME,
        /// What the dictionaries hold at its begin, by name and key.
        optional dict: Pairs<Pairs<Text>>,
        /// What the kv stores hold at its begin, by name and key.
        optional kv: Pairs<Pairs<Text>>,
        /// The request of the client.
        optional request: Request,
        /// A policy of a pool's scaling is asked, and sees this.
        optional autoscale: super::spec_scale::Autoscale,
        /// How the origin answers: 200 without a body if not given.
        optional origin: Origin,
        /// What the plugin asks others, in this order, and what they answer. All must be asked.
        list callouts: Callout,
        /// What must have come of it.
        optional expect: Expect,
        /// Several exchanges, one after another, in place of `request`.
        list steps: Step,
    }
}

keys! {
    /// One exchange of several.
    pub struct Step {
        /// Time that passes before it.
        default after: Span = std::time::Duration::ZERO,
        /// The request of the client; without one only time passes.
        optional request: Request,
        /// A policy of a pool's scaling is asked, and sees this.
        optional autoscale: super::spec_scale::Autoscale,
        /// How the origin answers.
        optional origin: Origin,
        /// What the plugin asks others.
        list callouts: Callout,
        /// What must have come of it.
        optional expect: Expect,
    }
}

keys! {
    /// A request.
    pub struct Request {
        /// The method.
        optional method: Method,
        /// The path, with its query.
        default path: UrlPath = "/",
        /// The host; `edge.test` if not given.
        default host: Text = "edge.test",
        /// Headers: a value each, or a list of values.
        optional headers: Headers,
        /// The body: a text as it is, a map or list as JSON.
        optional body: Freeform,
        /// The body in pieces, each of which arrives when the one before has been dealt with.
        list chunks: Text,
        /// Trailers; with `chunks`.
        optional trailers: Headers,
    }
}

keys! {
    /// An answer, or none.
    pub struct Origin {
        /// The status.
        default status: Status = 200u16,
        /// Headers: a value each, or a list of values.
        optional headers: Headers,
        /// The body: a text as it is, a map or list as JSON.
        optional body: Freeform,
        /// The body in pieces.
        list chunks: Text,
        /// Trailers; with `chunks`.
        optional trailers: Headers,
        /// How long it takes to answer.
        default delay: Span = std::time::Duration::ZERO,
        /// It does not answer.
        optional error: Failure,
    }
}

keys! {
    /// What the plugin asks somebody else.
    pub struct Callout {
        /// The pool or named target that is asked.
        required target: Text,
        /// What must have been asked.
        optional request: Asked,
        /// What is answered.
        optional response: Origin,
        /// A gRPC call or stream and its answer, in place of both.
        optional grpc: super::spec_grpc::Grpc,
        /// It is not answered.
        optional error: Failure,
        /// How long the answer takes.
        optional delay: Period,
        /// How often it is asked.
        default times: Positive = 1u32,
        /// It need not be asked.
        default optional: bool = false,
    }
}

keys! {
    /// A request as it must be.
    pub struct Asked {
        /// The method.
        optional method: Method,
        /// The path, with its query.
        optional path: Wanted,
        /// Headers; those not named may be anything.
        optional headers: Pairs<Wanted>,
        /// The body.
        optional body: Wanted,
        /// Trailers.
        optional trailers: Pairs<Wanted>,
    }
}

keys! {
    /// What must have come of an exchange.
    pub struct Expect {
        /// The request as the origin got it.
        optional request: Asked,
        /// Whether the origin got one. Default: no matter.
        optional reaches_origin: bool,
        /// The response as the client got it.
        optional response: Answered,
        /// The exchange ended without an answer. Default: it must not.
        default closed: bool = false,
        /// What the policy proposed.
        optional proposal: super::spec_scale::ProposalWanted,
        /// Log lines of the plugin: each must be there.
        list logs: Line,
        /// Texts that no log line of the plugin may contain.
        list no_logs: Text,
        /// By how much a counter or the samples of a histogram grew, and what a gauge is; a name,
        /// or a name with labels: `hits_total{kind="a"}`. Nothing: it was never touched.
        optional metrics: Pairs<Amount>,
        /// How the plugin fails. Default: it must not.
        optional fault: FaultWanted,
        /// What the dictionaries hold at its end, by name and key; nothing: not there.
        optional dict: Pairs<Pairs<Wanted>>,
        /// What the kv stores hold at its end.
        optional kv: Pairs<Pairs<Wanted>>,
        /// How long it took, in the time of the case.
        optional took: Span,
    }
}

keys! {
    /// A response as it must be.
    pub struct Answered {
        /// The status.
        optional status: Status,
        /// Headers; those not named may be anything.
        optional headers: Pairs<Wanted>,
        /// The body.
        optional body: Wanted,
        /// Trailers.
        optional trailers: Pairs<Wanted>,
    }
}

keys! {
    /// A fault as it must be.
    pub struct FaultFacts {
        /// Its class, such as TRAP.
        required verdict: Verdict,
        /// The callback in which it came, such as on_request_headers.
        optional callback: Text,
        /// A part of its message.
        optional contains: Text,
    }
}

keys! {
    /// A log line as it must be.
    pub struct LineFacts {
        /// How grave it is.
        optional level: Level,
        /// A part of it.
        optional contains: Text,
    }
}

keys! {
    /// A value that is not given whole.
    pub struct Part {
        /// A part of it.
        optional contains: Text,
        /// A regular expression for the whole of it.
        optional matches: super::form::Pattern,
        /// The same JSON, whatever the order of its keys.
        optional json: Freeform,
    }
}

/// A value that must be as this says.
#[derive(Clone, Debug)]
pub struct Wanted(pub Answer);

/// A line, or its text alone.
#[derive(Clone, Debug)]
pub struct Line(pub LineFacts);

/// A fault, or its verdict alone.
#[derive(Clone, Debug)]
pub struct FaultWanted(pub FaultFacts);

/// Of a metric.
#[derive(Clone, Debug)]
pub struct Amount(pub Option<f64>);

/// Since 1970.
#[derive(Clone, Debug)]
pub struct Seconds(pub f64);

/// The class of a fault.
#[derive(Clone, Debug)]
pub struct Verdict(pub String);

fn refuse<T>(node: &Node, allowed: &str, errors: &mut Errors) -> Option<T> {
    errors
        .add(&node.place, Problem::found(format!("found {}", node.describe())).allowed(format!("allowed: {allowed}")));
    None
}

fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Int(number) => Some(number.to_string()),
        Kind::Float(number) => Some(number.to_string()),
        Kind::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

impl Value for Wanted {
    fn read(node: &Node, errors: &mut Errors) -> Option<Wanted> {
        const ALLOWED: &str = "a text, a list of texts, nothing (it is absent), or a map of contains, matches, json";
        let answer = match &node.kind {
            Kind::Null => Answer::Absent,
            Kind::List(items) => match items.iter().map(scalar).collect() {
                Some(all) => Answer::All(all),
                None => return refuse(node, ALLOWED, errors),
            },
            Kind::Map(_) => {
                let part = Part::read(node, errors)?;
                match (part.contains, part.matches, part.json) {
                    (Some(text), None, None) => Answer::Contains(text.value.0),
                    (None, Some(pattern), None) => Answer::Matches(pattern.value.0),
                    (None, None, Some(json)) => Answer::Json(json.value.0),
                    _ => return refuse(node, "one of contains, matches, json", errors),
                }
            }
            _ => match scalar(node) {
                Some(text) => Answer::Is(text),
                None => return refuse(node, ALLOWED, errors),
            },
        };
        Some(Wanted(answer))
    }
}

impl Value for Line {
    fn read(node: &Node, errors: &mut Errors) -> Option<Line> {
        if let Kind::Map(_) = node.kind {
            return LineFacts::read(node, errors).map(Line);
        }
        let contains = Text::read(node, errors)?;
        let contains = Some(At { value: contains, place: node.place.clone() });
        Some(Line(LineFacts { place: node.place.clone(), level: None, contains }))
    }
}

impl Value for FaultWanted {
    fn read(node: &Node, errors: &mut Errors) -> Option<FaultWanted> {
        if let Kind::Map(_) = node.kind {
            return FaultFacts::read(node, errors).map(FaultWanted);
        }
        let verdict = Verdict::read(node, errors)?;
        let verdict = Some(At { value: verdict, place: node.place.clone() });
        Some(FaultWanted(FaultFacts { place: node.place.clone(), verdict, callback: None, contains: None }))
    }
}

impl Value for Verdict {
    fn read(node: &Node, errors: &mut Errors) -> Option<Verdict> {
        let word = scalar(node).unwrap_or_default();
        if crate::spec::VERDICTS.contains(&word.as_str()) {
            return Some(Verdict(word));
        }
        let found = format!("found {}", node.describe());
        errors.add(&node.place, Problem::none_of(found, "verdicts are", &word, crate::spec::VERDICTS));
        None
    }
}

impl Value for Amount {
    fn read(node: &Node, errors: &mut Errors) -> Option<Amount> {
        match &node.kind {
            Kind::Null => Some(Amount(None)),
            Kind::Int(number) => Some(Amount(Some(*number as f64))),
            Kind::Float(number) => Some(Amount(Some(*number))),
            _ => refuse(node, "a number, or nothing: it was never touched", errors),
        }
    }
}

impl Value for Seconds {
    fn read(node: &Node, errors: &mut Errors) -> Option<Seconds> {
        let seconds = match &node.kind {
            Kind::Int(number) => *number as f64,
            Kind::Float(number) => *number,
            _ => -1.0,
        };
        // Past it the clock of the system has no such time everywhere.
        if (0.0..=1e11).contains(&seconds) {
            return Some(Seconds(seconds));
        }
        refuse(node, "seconds since 1970, from 0 to 1e11", errors)
    }
}

impl From<f64> for Seconds {
    fn from(seconds: f64) -> Seconds {
        Seconds(seconds)
    }
}

impl super::value::Written for Seconds {
    fn written(&self) -> serde_json::Value {
        self.0.into()
    }
}

/// What takes several forms: the schema leaves them to the reader.
macro_rules! any_schema {
    ($($Name:ident)+) => {$(
        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({})
            }
        }
    )+};
}

pub(super) use any_schema;

any_schema! { Wanted Line FaultWanted Verdict Amount Seconds }
