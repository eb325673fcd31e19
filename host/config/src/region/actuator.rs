//! Who carries decisions out.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Actuator {
    /// Decisions are journalled and not carried out.
    DryRun,
    /// Starts and stops origin processes on this machine.
    Process(ProcessActuator),
}

#[derive(Clone, Debug)]
pub struct ProcessActuator {
    /// Program and arguments; `{port}` in any of them becomes the origin's port.
    pub command: Vec<String>,
    /// Where origins listen: 127.0.0.1 and a free port from the system for each.
    pub host: IpAddr,
    /// GET here until 2xx ends the boot.
    pub ready_path: String,
    /// A process that is not ready by then is stopped and replaced.
    pub boot_timeout: Duration,
    /// From SIGTERM to SIGKILL, after the edges have drained it.
    pub stop_timeout: Duration,
    /// Small files that let a restarted aggregator find what runs.
    pub state_dir: PathBuf,
}

impl ProcessActuator {
    pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    pub const READY_PATH: &str = "/";
    pub const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);
}
