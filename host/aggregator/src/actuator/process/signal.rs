//! Signals to a process group. With `clock/monotonic.rs` the one place of this crate with unsafe code.
#![allow(unsafe_code)]

use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Kill,
}

/// To the group that `pid` was made the leader of, so that what a wrapper script started ends
/// with it. What another hand started may lead no group: then to it alone.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // 0 and 1 would mean our own group and every process: no origin has such a number.
    let Some(group) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no process number: {pid}")));
    };
    // SAFETY: kill(2) takes two integers by value and touches no memory of ours.
    let sent = |to: i32| match unsafe { libc::kill(to, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    match sent(-group) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => sent(group),
        sent => sent,
    }
}
