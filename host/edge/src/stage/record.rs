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
    /// Bytes of both.
    size: usize,
}

/// What is kept of what is said between two looks: a stage's time may pass much faster than ours,
/// and the plugin's limit of lines goes by the stage's.
const MOST: usize = 16 << 20;

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

impl Seen {
    /// Its lines, for people.
    pub fn shown(&self) -> Vec<String> {
        self.lines.iter().map(|line| format!("{:?} {}", line.level, line.text)).collect()
    }

    /// Whether there is room for so many bytes more.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.size += bytes + size_of::<Fault>();
        self.size <= MOST
    }
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
            let (verdict, callback, trace) = (take("verdict"), take("callback"), take("trace"));
            if seen.has_room(message.len() + trace.len()) {
                seen.faults.push(Fault { verdict, callback, trace, message });
            }
            return;
        }
        let critical = fields.take("critical").is_some();
        let level = if critical { Level::Critical } else { level(*event.metadata().level()) };
        let known = ["plugin", "request_id"];
        let extra = fields.0.iter().filter(|(name, _)| !known.contains(name));
        let text = extra.fold(message, |text, (name, value)| format!("{text} {name}={value}"));
        if seen.has_room(text.len()) {
            seen.lines.push(Line { level, text });
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Values<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
