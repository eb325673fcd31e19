//! The little of WASI preview 1 that SDKs and language runtimes need, under both of its names.
//!
//! A plugin has no files, no arguments and no environment: calls about those say so with an
//! errno, so that a runtime which looks around at its start goes on. Printing goes to the log.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use abi::LogLevel;
use wasmtime::Linker;

use crate::api::Guest;
use crate::memory::{self, Outcome, Stop};
use crate::state::State;

const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const IO: i32 = 29;
const NOSYS: i32 = 52;

/// The largest number of pieces in one write; POSIX guarantees no more than 16.
const MAX_PIECES: u32 = 1024;
const MAX_RANDOM: u32 = 1 << 16;
/// Bytes that one write takes; a guest writes the rest again, and its deadline is looked at between.
const MAX_WRITE: u32 = 8 << 10;

/// `proc_exit`: a plugin cannot end the host, so it ends itself.
#[derive(Debug)]
pub struct Exit(pub i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the plugin called proc_exit({})", self.0)
    }
}

impl std::error::Error for Exit {}

fn errno(outcome: Outcome<i32>) -> wasmtime::Result<i32> {
    match outcome {
        Ok(errno) => Ok(errno),
        Err(Stop::Refused(_)) => Ok(FAULT),
        Err(Stop::Trap(error)) => Err(error),
    }
}

/// Registers functions that answer an errno, under both modules.
macro_rules! define {
    ($linker:expr; $($name:literal = $function:path, $($arg:ident: $type:ty),*;)*) => {
        for module in MODULES {
            $($linker.func_wrap(module, $name, |mut guest: Guest<'_>, $($arg: $type),*| -> wasmtime::Result<i32> {
                errno($function(&mut guest, $($arg),*))
            })?;)*
        }
    };
}

/// Registers functions that answer the same errno whatever they are asked.
macro_rules! define_constant {
    ($linker:expr; $($name:literal = $errno:expr, $($type:ty),*;)*) => {
        for module in MODULES {
            $($linker.func_wrap(module, $name, constant!($errno, $($type),*))?;)*
        }
    };
}

macro_rules! constant {
    ($errno:expr,) => {
        || -> i32 { $errno }
    };
    ($errno:expr, $a:ty) => {
        |_: $a| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty) => {
        |_: $a, _: $b| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty) => {
        |_: $a, _: $b, _: $c| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty, $d:ty) => {
        |_: $a, _: $b, _: $c, _: $d| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty) => {
        |_: $a, _: $b, _: $c, _: $d, _: $e| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty) => {
        |_: $a, _: $b, _: $c, _: $d, _: $e, _: $f| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty, $g:ty) => {
        |_: $a, _: $b, _: $c, _: $d, _: $e, _: $f, _: $g| -> i32 { $errno }
    };
    ($errno:expr, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty, $g:ty, $h:ty, $i:ty) => {
        |_: $a, _: $b, _: $c, _: $d, _: $e, _: $f, _: $g, _: $h, _: $i| -> i32 { $errno }
    };
}

pub fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    define! { linker;
        "fd_write" = fd_write, fd: u32, pieces: u32, count: u32, out: u32;
        "fd_read" = fd_read, fd: u32, pieces: u32, count: u32, out: u32;
        "fd_fdstat_get" = fd_fdstat_get, fd: u32, out: u32;
        "clock_time_get" = clock_time_get, clock: u32, precision: u64, out: u32;
        "clock_res_get" = clock_res_get, clock: u32, out: u32;
        "random_get" = random_get, at: u32, len: u32;
        "environ_sizes_get" = nothing_counted, count: u32, size: u32;
        "args_sizes_get" = nothing_counted, count: u32, size: u32;
        "poll_oneoff" = poll_oneoff, given: u32, events: u32, count: u32, out: u32;
    }
    define_constant! { linker;
        "environ_get" = SUCCESS, u32, u32;
        "args_get" = SUCCESS, u32, u32;
        "sched_yield" = SUCCESS, ;
        "fd_close" = BADF, u32;
        "fd_fdstat_set_flags" = BADF, u32, u32;
        // Go stops with a panic at any other answer: there are no folders.
        "fd_prestat_get" = BADF, u32, u32;
        "fd_prestat_dir_name" = BADF, u32, u32, u32;
        "fd_seek" = BADF, u32, u64, u32, u32;
        "fd_tell" = BADF, u32, u32;
        "fd_sync" = BADF, u32;
        "fd_datasync" = BADF, u32;
        "fd_advise" = BADF, u32, u64, u64, u32;
        "fd_allocate" = BADF, u32, u64, u64;
        "fd_fdstat_set_rights" = BADF, u32, u64, u64;
        "fd_filestat_get" = BADF, u32, u32;
        "fd_filestat_set_size" = BADF, u32, u64;
        "fd_filestat_set_times" = BADF, u32, u64, u64, u32;
        "fd_pread" = BADF, u32, u32, u32, u64, u32;
        "fd_pwrite" = BADF, u32, u32, u32, u64, u32;
        "fd_readdir" = BADF, u32, u32, u32, u64, u32;
        "fd_renumber" = BADF, u32, u32;
        "path_create_directory" = BADF, u32, u32, u32;
        "path_filestat_get" = BADF, u32, u32, u32, u32, u32;
        "path_filestat_set_times" = BADF, u32, u32, u32, u32, u64, u64, u32;
        "path_link" = BADF, u32, u32, u32, u32, u32, u32, u32;
        "path_open" = BADF, u32, u32, u32, u32, u32, u64, u64, u32, u32;
        "path_readlink" = BADF, u32, u32, u32, u32, u32, u32;
        "path_remove_directory" = BADF, u32, u32, u32;
        "path_rename" = BADF, u32, u32, u32, u32, u32, u32;
        "path_symlink" = BADF, u32, u32, u32, u32, u32;
        "path_unlink_file" = BADF, u32, u32, u32;
        "proc_raise" = NOSYS, u32;
        "sock_accept" = NOSYS, u32, u32, u32;
        "sock_recv" = NOSYS, u32, u32, u32, u32, u32, u32;
        "sock_send" = NOSYS, u32, u32, u32, u32, u32;
        "sock_shutdown" = NOSYS, u32, u32;
    }
    for module in MODULES {
        linker.func_wrap(module, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(Exit(code).into()) })?;
    }
    Ok(())
}

/// Standard output is logged as information, standard error as an error, line by line.
fn fd_write(guest: &mut Guest<'_>, fd: u32, pieces: u32, count: u32, out: u32) -> Outcome<i32> {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(BADF),
    };
    if count > MAX_PIECES {
        return Ok(INVAL);
    }
    let (data, state) = memory::view(guest)?;
    let mut written = 0u32;
    for i in 0..count {
        let piece = pieces.saturating_add(8 * i);
        let (at, len) = (memory::read_u32(data, piece)?, memory::read_u32(data, piece.saturating_add(4))?);
        let taken = len.min(MAX_WRITE - written);
        state.print(level, memory::bytes(data, at, taken)?);
        written += taken;
        if taken < len {
            break;
        }
    }
    memory::put_u32(data, out, written)?;
    Ok(SUCCESS)
}

/// Standard input is at its end.
fn fd_read(guest: &mut Guest<'_>, fd: u32, _pieces: u32, _count: u32, out: u32) -> Outcome<i32> {
    if fd != 0 {
        return Ok(BADF);
    }
    memory::answer_u32(guest, out, 0)?;
    Ok(SUCCESS)
}

/// The three standard streams are character devices, which may be written or read.
fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, out: u32) -> Outcome<i32> {
    const CHARACTER_DEVICE: u8 = 2;
    const RIGHT_READ: u64 = 1 << 1;
    const RIGHT_WRITE: u64 = 1 << 6;
    if fd > 2 {
        return Ok(BADF);
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&(if fd == 0 { RIGHT_READ } else { RIGHT_WRITE }).to_le_bytes());
    memory::put(memory::view(guest)?.0, out, &stat)?;
    Ok(SUCCESS)
}

/// Real time is the host's; the other clocks only have to go forward.
fn clock_time_get(guest: &mut Guest<'_>, clock: u32, _precision: u64, out: u32) -> Outcome<i32> {
    static START: OnceLock<Instant> = OnceLock::new();
    let time: Duration = match clock {
        0 => guest.data().host().now(),
        1..=3 => START.get_or_init(Instant::now).elapsed(),
        _ => return Ok(INVAL),
    };
    memory::answer_u64(guest, out, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))?;
    Ok(SUCCESS)
}

fn clock_res_get(guest: &mut Guest<'_>, clock: u32, out: u32) -> Outcome<i32> {
    if clock > 3 {
        return Ok(INVAL);
    }
    memory::answer_u64(guest, out, 1)?;
    Ok(SUCCESS)
}

fn random_get(guest: &mut Guest<'_>, at: u32, len: u32) -> Outcome<i32> {
    static RANDOM: OnceLock<Option<File>> = OnceLock::new();
    if len > MAX_RANDOM {
        return Ok(INVAL);
    }
    let bytes = memory::bytes_mut(memory::view(guest)?.0, at, len)?;
    let random = RANDOM.get_or_init(|| File::open("/dev/urandom").ok());
    let read = random.as_ref().is_some_and(|mut file| file.read_exact(bytes).is_ok());
    Ok(if read { SUCCESS } else { IO })
}

fn nothing_counted(guest: &mut Guest<'_>, count: u32, size: u32) -> Outcome<i32> {
    memory::bytes(memory::view(guest)?.0, size, 4)?;
    memory::answer_u32(guest, count, 0)?;
    memory::answer_u32(guest, size, 0)?;
    Ok(SUCCESS)
}

/// A guest never waits inside a call: no event has come, and that is no error.
fn poll_oneoff(guest: &mut Guest<'_>, _given: u32, _events: u32, _count: u32, out: u32) -> Outcome<i32> {
    memory::answer_u32(guest, out, 0)?;
    Ok(SUCCESS)
}
