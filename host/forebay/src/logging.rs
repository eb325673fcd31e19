//! Where log lines go and what they look like. The filter follows a reload; the format is that
//! of the start, because lines of two formats in one stream can be read by nobody.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use config::{Log, LogFormat};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

mod json;
mod writer;

use writer::Writer;

/// What was installed, to change its filter later. Dropped, it waits for the last lines.
pub struct Logging {
    format: LogFormat,
    filter: reload::Handle<EnvFilter, Registry>,
    queue: Writer,
}

/// Installs the process's only subscriber. Lines go to stderr, or to a file if one is given.
pub fn install(log: &Log, file: Option<&Path>) -> anyhow::Result<Logging> {
    let (writer, colour) = match file {
        Some(path) => (Writer::start(File::create(path).with_context(|| path.display().to_string())?)?, false),
        None => (Writer::start(io::stderr())?, io::stderr().is_terminal()),
    };
    let queue = writer.clone();
    let writer = move || writer.clone();
    let (filter, handle) = reload::Layer::new(parse(&log.filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Json => {
            let lines = fmt::layer().json().event_format(json::Lines::default());
            registry.with(lines.with_writer(writer)).try_init()?;
        }
        LogFormat::Pretty => {
            let fields = debug_fn(indented).delimited(" ");
            registry.with(fmt::layer().fmt_fields(fields).with_ansi(colour).with_writer(writer)).try_init()?;
        }
    }
    Ok(Logging { format: log.format, filter: handle, queue })
}

/// Further lines of a text are set in: what a plugin logs must not look like a line of the edge.
fn indented(to: &mut fmt::format::Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}").replace('\n', "\n    | ");
    if field.name() == "message" { write!(to, "{text}") } else { write!(to, "{}={text}", field.name()) }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Logging {
    pub fn flush(&self) {
        self.queue.flush_queue();
    }

    pub fn reload(&self, log: &Log) -> anyhow::Result<()> {
        if log.format != self.format {
            tracing::warn!("log.format has changed; it takes effect at the next start");
        }
        Ok(self.filter.reload(parse(&log.filter)?)?)
    }
}

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(filter).with_context(|| format!("log.filter: `{filter}`"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_text_of_many_lines_is_one_entry() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().fmt_fields(debug_fn(indented).delimited(" ")).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(trace = %"one\n2026 ERROR two", "x\n2026 ERROR forged\r\n3");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let begins: Vec<_> = text.lines().skip(1).map(|line| line.starts_with("    | ")).collect();
        assert_eq!(begins, [true, true, true], "{text}");
        assert!(text.contains("    | 2026 ERROR forged"), "{text}");
    }
}
