//! The faults of one plugin, as the admin address shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use abi::{Fault, Verdict};

/// How much of a guest's words is kept: an error's text may be as long as its memory allows.
const MOST_TEXT: usize = 4 << 10;

/// Locked for a fault and by readers.
#[derive(Debug, Default)]
pub struct Record(Mutex<Faults>);

#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub by_verdict: BTreeMap<&'static str, u64>,
    pub last: Option<Last>,
    /// Exchanges that lost their instance to another's fault.
    pub collateral: u64,
}

#[derive(Clone, Debug)]
pub struct Last {
    pub at: SystemTime,
    pub verdict: Verdict,
    pub callback: &'static str,
    /// Of the plugin's code that failed.
    pub version: String,
    pub message: String,
    /// Empty outside of an exchange.
    pub request_id: String,
    pub trace: Option<String>,
}

impl Record {
    pub fn add(&self, fault: &Fault, callback: &'static str, version: &str, request_id: &str, at: SystemTime) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *faults.by_verdict.entry(fault.verdict.name()).or_default() += 1;
        faults.last = Some(Last {
            at,
            verdict: fault.verdict,
            callback,
            version: version.to_owned(),
            message: cut(&fault.message),
            request_id: request_id.to_owned(),
            trace: fault.trace.as_deref().map(cut),
        });
    }

    pub fn add_collateral(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).collateral += 1;
    }

    pub fn read(&self) -> Faults {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn cut(text: &str) -> String {
    let end = (0..=text.len().min(MOST_TEXT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fault_is_kept_whole_up_to_a_bound() {
        let record = Record::default();
        record.add(&Fault::new(Verdict::Cpu, "first"), "on_tick", "v1", "", SystemTime::UNIX_EPOCH);
        let long = Fault::new(Verdict::Trap, "ä".repeat(MOST_TEXT)).with_trace("t");
        record.add(&long, "on_log", "v2", "id", SystemTime::UNIX_EPOCH);
        let faults = record.read();
        assert_eq!(faults.by_verdict, BTreeMap::from([("CPU", 1), ("TRAP", 1)]));
        let last = faults.last.unwrap();
        assert_eq!((last.verdict, last.callback, &*last.version), (Verdict::Trap, "on_log", "v2"));
        assert_eq!((last.message.len(), &*last.request_id, last.trace.as_deref()), (MOST_TEXT, "id", Some("t")));
    }
}
