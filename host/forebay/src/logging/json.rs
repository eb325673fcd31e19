//! Lines of a JSON log. What plugins say of themselves (`forebay::plugin`, `forebay::trace`) comes
//! with `fields`, whose names nobody knows beforehand, so that they cross `tracing` as one JSON text:
//! here they become an object of the line again. All other lines are tracing's own.

use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The key whose text is JSON already.
const FIELDS: &str = "fields";

pub struct Lines {
    plain: Format<Json>,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines { plain: Format::default().json().flatten_event(true) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if metadata.fields().field(FIELDS).is_none() {
            return self.plain.format_event(context, to, event);
        }
        to.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut to)?;
        write!(to, "\",\"level\":\"{}\"", metadata.level())?;
        let mut keys = Keys(String::new());
        event.record(&mut keys);
        writeln!(to, "{},\"target\":{}}}", keys.0, Value::from(metadata.target()))
    }
}

/// The keys of a line, each with a comma before it.
struct Keys(String);

impl Keys {
    fn put(&mut self, field: &Field, value: impl fmt::Display) {
        write!(self.0, ",{}:{value}", Value::from(field.name())).expect("a text takes whatever is written");
    }
}

impl Visit for Keys {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            FIELDS => self.put(field, value),
            _ => self.put(field, Value::from(value)),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
}
