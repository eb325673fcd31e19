//! The machine's monotonic clock as a number that other processes read as well. The standard library has it as
//! an opaque instant, which cannot be written into a file.
#![allow(unsafe_code)]

/// Since a moment that does not matter and stays the same until the machine starts anew. Time that the machine
/// sleeps is not counted.
pub fn milliseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes one timespec, which lives here. This clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
