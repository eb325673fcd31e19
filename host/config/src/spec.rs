//! `spec.yaml`: the cases of `forebay plugin test`, with nothing left to check.

pub mod scale;

use std::path::Path;
use std::time::Duration;

use crate::error::Errors;
use crate::region::FaultPolicy;

/// The file's name, in a plugin's folder.
pub const FILE: &str = "spec.yaml";

/// When a case begins that does not say: 2026-01-01T00:00:00Z.
pub const TIME: f64 = 1_767_225_600.0;

/// As `abi` spells them, which this crate may not import; a test of the edge holds them together.
pub const VERDICTS: [&str; 9] = ["CPU", "WALL", "MEMORY", "BUFFER", "CALLOUT", "TRAP", "PANIC", "CONFIG", "CAPABILITY"];

/// gRPC's own, in the order of their numbers.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// Of the case in its file.
    pub line: u32,
    /// As in a region file: JSON.
    pub config: Option<String>,
    pub vm_config: Option<String>,
    /// In place of those of the manifest.
    pub capabilities: Option<Vec<String>>,
    /// Limits of a region file, as JSON, over those of the manifest.
    pub limits: Option<String>,
    pub on_fault: Option<FaultPolicy>,
    /// Sections of a region file, as a JSON object.
    pub region: Option<String>,
    /// Since 1970.
    pub time: Duration,
    pub dict: Data<String>,
    pub kv: Data<String>,
    /// At least one.
    pub steps: Vec<Step>,
}

/// By the name of a store, then by key.
pub type Data<T> = Vec<(String, Vec<(String, T)>)>;

#[derive(Clone, Debug, Default)]
pub struct Step {
    pub after: Duration,
    pub request: Option<Request>,
    /// A policy is asked.
    pub autoscale: Option<scale::View>,
    pub origin: Response,
    pub callouts: Vec<Callout>,
    pub expect: Expect,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    /// Bytes that arrive one after another; one piece has its length said.
    pub body: Vec<String>,
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<String>,
    pub trailers: Vec<(String, String)>,
    pub delay: Duration,
    pub error: Option<Failure>,
}

impl Default for Response {
    fn default() -> Response {
        let (headers, body, trailers) = Default::default();
        Response { status: 200, headers, body, trailers, delay: Duration::ZERO, error: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Timeout,
    Unavailable,
}

#[derive(Clone, Debug)]
pub struct Callout {
    pub target: String,
    pub line: u32,
    pub request: Asked,
    /// Of a gRPC call only its `delay` and `error`.
    pub response: Response,
    pub grpc: Option<Grpc>,
    pub times: u32,
    pub optional: bool,
}

/// A gRPC call, or a stream. What is not given may be anything.
#[derive(Clone, Debug, Default)]
pub struct Grpc {
    pub service: Option<String>,
    pub method: Option<String>,
    /// Names in lower case.
    pub metadata: Vec<(String, Answer)>,
    pub messages: Option<Vec<Message>>,
    pub answer: GrpcAnswer,
}

/// How a message must be.
#[derive(Clone, Debug)]
pub enum Message {
    Bytes(Vec<u8>),
    Text(Answer),
}

#[derive(Clone, Debug, Default)]
pub struct GrpcAnswer {
    pub metadata: Vec<(String, String)>,
    pub messages: Vec<Vec<u8>>,
    pub trailers: Vec<(String, String)>,
    /// One of [`GRPC_STATUSES`], by its number.
    pub status: u32,
    pub text: String,
}

/// What is not given may be anything.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: Option<String>,
    pub path: Option<Answer>,
    /// Names in lower case.
    pub headers: Vec<(String, Answer)>,
    pub body: Option<Answer>,
    pub trailers: Vec<(String, Answer)>,
}

#[derive(Clone, Debug, Default)]
pub struct Answered {
    pub status: Option<u16>,
    pub headers: Vec<(String, Answer)>,
    pub body: Option<Answer>,
    pub trailers: Vec<(String, Answer)>,
}

/// How a value must be.
#[derive(Clone, Debug)]
pub enum Answer {
    Absent,
    Is(String),
    /// All values of the name, in order.
    All(Vec<String>),
    Contains(String),
    Matches(regex::Regex),
    /// The same JSON, whatever the order of its keys.
    Json(String),
}

#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// `None`: no matter.
    pub request: Option<Asked>,
    pub reaches_origin: Option<bool>,
    pub response: Option<Answered>,
    pub closed: bool,
    pub proposal: Option<scale::Proposal>,
    pub logs: Vec<Line>,
    pub no_logs: Vec<String>,
    /// By name, with labels or without; `None`: never touched.
    pub metrics: Vec<(String, Option<f64>)>,
    pub fault: Option<Fault>,
    pub dict: Data<Answer>,
    pub kv: Data<Answer>,
    pub took: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub level: Option<Level>,
    pub contains: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

#[derive(Clone, Debug)]
pub struct Fault {
    /// One of [`VERDICTS`].
    pub verdict: String,
    pub callback: Option<String>,
    pub contains: Option<String>,
}

/// Reads a `spec.yaml`. All errors at once, each with its line.
pub fn load(path: &Path) -> Result<Vec<Case>, Errors> {
    crate::load_beside(path, crate::check::spec::cases)
}
