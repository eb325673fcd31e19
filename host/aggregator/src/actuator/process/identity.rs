//! Which process a number means. Numbers are reused: the start time, and the boot of the machine
//! that it counts from, tell whether it is still the one that was started.

use std::fs;
use std::io;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks from the machine's boot to the start of the process.
    start_ticks: u64,
    /// The kernel's name for this boot of the machine.
    boot: String,
}

impl Identity {
    /// Of a process that runs.
    pub fn of(pid: u32) -> io::Result<Identity> {
        let (_, start_ticks) = stat(pid)?;
        Ok(Identity { pid, start_ticks, boot: boot()?.to_string() })
    }

    /// It runs, and is the same. A zombie does not run.
    pub fn is_alive(&self) -> bool {
        let same = |(state, start)| start == self.start_ticks && !matches!(state, 'Z' | 'X');
        stat(self.pid).is_ok_and(same) && boot().is_ok_and(|boot| boot == self.boot)
    }
}

/// The machine's, which does not change while we run.
fn boot() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_string();
    Ok(BOOT.get_or_init(|| boot))
}

/// State and start time from `/proc/PID/stat`.
fn stat(pid: u32) -> io::Result<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let unread = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat reads `{text}`"));
    // The second field is the program's name in brackets and may hold anything, brackets too.
    let rest = text.rsplit_once(')').ok_or_else(unread)?.1;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().and_then(|state| state.chars().next()).ok_or_else(unread)?;
    // Field 22 of the whole: the twentieth from the state on.
    let start = fields.nth(18).and_then(|ticks| ticks.parse().ok()).ok_or_else(unread)?;
    Ok((state, start))
}
