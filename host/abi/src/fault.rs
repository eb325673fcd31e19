//! How a plugin fails: at run time ([`Fault`]) and while its file is loaded ([`LoadError`]).

use std::fmt;
use std::time::Duration;

/// The class of a fault. It is the same in every engine for the same misbehaviour, and it is
/// what metrics and details carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Ran longer than its CPU limit.
    Cpu,
    /// Paused longer than its wall time limit.
    Wall,
    /// Asked for more memory than its limit.
    Memory,
    /// Buffered more body than its limit.
    Buffer,
    /// More callouts than its limit.
    Callout,
    /// A Wasm trap (a guest's panic included) or an uncaught Lua error.
    Trap,
    /// The engine itself failed: our bug, contained.
    Panic,
    /// Refused its configuration, or could not start.
    Config,
    /// Failed for want of a grant: an uncaught refusal `CAPABILITY_DENIED` in Lua, a trap right after
    /// one in Wasm. The refusal itself is an answer, and ends nothing.
    Capability,
}

impl Verdict {
    pub const ALL: [Verdict; 9] = [
        Verdict::Cpu,
        Verdict::Wall,
        Verdict::Memory,
        Verdict::Buffer,
        Verdict::Callout,
        Verdict::Trap,
        Verdict::Panic,
        Verdict::Config,
        Verdict::Capability,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Verdict::Cpu => "CPU",
            Verdict::Wall => "WALL",
            Verdict::Memory => "MEMORY",
            Verdict::Buffer => "BUFFER",
            Verdict::Callout => "CALLOUT",
            Verdict::Trap => "TRAP",
            Verdict::Panic => "PANIC",
            Verdict::Config => "CONFIG",
            Verdict::Capability => "CAPABILITY",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plugin failed. It costs the exchange that it served, by the plugin's fault policy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{verdict}: {message}")]
pub struct Fault {
    pub verdict: Verdict,
    /// For the operator, never for the client.
    pub message: String,
    /// Traceback of the guest, one frame a line, if there is one.
    pub trace: Option<String>,
    /// CPU time that it took, as far as that is known: of the callback that failed, over all its waits.
    pub cpu: Duration,
    /// There was no room for one more instance: how many exchanges there are at once was for somebody else to say,
    /// and no crash budget has it.
    pub crowded: bool,
}

impl Fault {
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Fault {
        Fault { verdict, message: message.into(), trace: None, cpu: Duration::ZERO, crowded: false }
    }

    pub fn with_cpu(self, cpu: Duration) -> Fault {
        Fault { cpu, ..self }
    }

    pub fn with_trace(mut self, trace: impl Into<String>) -> Fault {
        self.trace = Some(trace.into());
        self
    }
}

/// A plugin file that cannot be loaded: found before any port is bound, reported with the file.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct LoadError {
    /// Line of the source, where the engine knows one.
    pub line: Option<u32>,
    pub message: String,
}

impl LoadError {
    pub fn new(message: impl Into<String>) -> LoadError {
        LoadError { line: None, message: message.into() }
    }

    pub fn at(line: u32, message: impl Into<String>) -> LoadError {
        LoadError { line: Some(line), message: message.into() }
    }
}
