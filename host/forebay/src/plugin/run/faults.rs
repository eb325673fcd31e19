//! What the plugin logs and how it fails: printed as it comes, and kept for the request that met
//! it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Faults that are kept: more requests than one looks at.
const KEPT: usize = 64;

#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<VecDeque<Fault>>>);

#[derive(Clone, Debug, Default)]
pub struct Fault {
    pub request_id: String,
    pub callback: String,
    pub verdict: String,
    pub message: String,
    pub trace: String,
}

impl Faults {
    /// That of a request.
    pub fn of(&self, request_id: &str) -> Option<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().rev().find(|fault| fault.request_id == request_id).cloned()
    }
}

#[derive(Default)]
struct Fields {
    fault: Fault,
    more: String,
}

impl Fields {
    fn set(&mut self, name: &str, value: String) {
        match name {
            "message" => self.fault.message = value,
            "request_id" => self.fault.request_id = value,
            "callback" => self.fault.callback = value,
            "verdict" => self.fault.verdict = value,
            "trace" => self.fault.trace = value,
            "plugin" | "version" | "route" => {}
            _ => self.more.push_str(&format!(" {name}={value}")),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Faults {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let facts = event.metadata();
        let (target, level) = (facts.target(), facts.level());
        let mut fields = Fields::default();
        if target == "forebay::plugin" {
            event.record(&mut fields);
            eprintln!("{:<5} {}{}", level.as_str().to_lowercase(), fields.fault.message, fields.more);
        } else if target == "forebay::fault" {
            event.record(&mut fields);
            let fault = fields.fault;
            // What keeps a version from starting is told where it is refused.
            if *level <= Level::WARN {
                eprintln!("fault {} in {}: {}", fault.verdict, fault.callback, fault.message);
                fault.trace.lines().for_each(|line| eprintln!("      {line}"));
            }
            let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if faults.len() == KEPT {
                faults.pop_front();
            }
            faults.push_back(fault);
        } else if *level <= Level::WARN && target.starts_with("forebay") {
            event.record(&mut fields);
            eprintln!("{:<5} {}{}", level.as_str().to_lowercase(), fields.fault.message, fields.more);
        }
    }
}
