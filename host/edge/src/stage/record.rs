//! What a plugin logged and how it failed: the stage's thread has this subscriber as its own.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::spec::Level;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata};

#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Seen>>);

#[derive(Default)]
pub struct Seen {
    pub lines: Vec<Line>,
    pub faults: Vec<Fault>,
}

/// A line that the plugin logged.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    /// With its fields, as ` name=value` each.
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Fault {
    pub verdict: String,
    pub callback: String,
    pub message: String,
    pub trace: String,
}

impl Record {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came since the last time this was asked.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }
}

#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(field, _)| *field == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

impl tracing::Subscriber for Record {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        matches!(metadata.target(), "forebay::plugin" | "forebay::fault")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_default();
        let mut seen = self.seen();
        if event.metadata().target() == "forebay::fault" {
            let mut take = |name| fields.take(name).unwrap_or_default();
            seen.faults.push(Fault {
                verdict: take("verdict"),
                callback: take("callback"),
                trace: take("trace"),
                message,
            });
            return;
        }
        let critical = fields.take("critical").is_some();
        let level = if critical { Level::Critical } else { level(*event.metadata().level()) };
        let known = ["plugin", "request_id"];
        let extra = fields.0.iter().filter(|(name, _)| !known.contains(name));
        let text = extra.fold(message, |text, (name, value)| format!("{text} {name}={value}"));
        seen.lines.push(Line { level, text });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Values<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
