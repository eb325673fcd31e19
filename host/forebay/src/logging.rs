//! Where log lines go and what they look like. The filter follows a reload; the format is that
//! of the start, because lines of two formats in one stream can be read by nobody.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use config::{Log, LogFormat};
use tracing_subscriber::filter::EnvFilter;
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
        LogFormat::Pretty => registry.with(fmt::layer().with_ansi(colour).with_writer(writer)).try_init()?,
    }
    Ok(Logging { format: log.format, filter: handle, queue })
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
