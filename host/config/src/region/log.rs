//! What the process logs.

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,forebay_edge=debug`.
    pub filter: String,
    /// One line per request.
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Pretty,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Json, filter: "info".to_owned(), access: true }
    }
}
