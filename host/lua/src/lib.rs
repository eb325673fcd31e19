//! Runs plugins in LuaJIT.
//!
//! The parts:
//!
//! - [`load`]: reads and checks a plugin, by running its file once in a scratch sandbox;
//! - [`source`]: the plugin's files, and the modules that can be required;
//! - [`instance`]: contexts, and the coroutines in which their callbacks run and wait;
//! - [`vm`]: one Lua state with its memory limit ([`vm::heap`]), its hardened library
//!   ([`vm::sandbox`]) and its coroutines; [`watchdog`] ends what runs too long;
//! - [`api`]: the hostcalls, as raw C functions (three times faster than closures of mlua);
//! - [`kit`]: the modules of sdk-lua that are done natively (JSON, hashes, tokens and their like);
//! - [`text`]: pattern matching that can be interrupted; [`value`]: what crosses as what;
//! - [`state`]: LuaJIT's C API, the calls that we use.
//!
//! **Unsafe:** this crate uses `unsafe`, because LuaJIT has a C API. Nearly all of it stands in
//! `state.rs`; every block says why it holds. Three rules carry the rest:
//!
//! 1. A Lua error unwinds the C stack. So no value with a `Drop` lives across a call that can
//!    throw, and inside a hostcall nothing can: the allocator does not fail there
//!    ([`vm::heap`]), and errors are raised by the outermost frame ([`api::enter`]).
//! 2. A panic never meets a Lua frame: [`api::enter`] catches it and turns it into a fault.
//! 3. No other thread touches a state that is in use. Only the watchdog's signal handler comes in
//!    between, on the state's own thread, with the one call that LuaJIT allows there
//!    (`lua_sethook`). A large VM that nobody will enter again is closed elsewhere
//!    ([`vm::ending`]), after what belongs to its thread was taken out of it.

mod api;
mod instance;
mod kit;
mod plugin;
mod scratch;
mod source;
mod state;
mod text;
mod value;
mod vm;
mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use abi::{Limits, LoadError, Plugin};
pub use source::is_inside;
// Nothing to call: this makes our build of LuaJIT part of every binary that has this crate.
use luajit_sys as _;

/// Loads and checks the plugin whose main file is `path`; modules beside it can be required.
///
/// The file is run once in a scratch sandbox to learn its callbacks, within the usual limits. Errors: the
/// file (or a module) cannot be read or is over 64 KiB, does not compile, fails, passes its limits, or does
/// not return a table of callbacks.
pub fn load(path: &Path) -> Result<Arc<dyn Plugin>, LoadError> {
    load_within(path, None, &Limits::default())
}

/// Loads a plugin within `limits`. With `trusted` it is one that the operator trusts with the process: it
/// can `require "ffi"`, and Lua modules in those folders, by `name.lua` and `name/init.lua`. Limits and
/// faults are those of any other; what a C function does, they cannot bound.
///
/// Errors: those of [`load`], and a trusted plugin in a build without the feature `ffi`.
pub fn load_within(path: &Path, trusted: Option<&[PathBuf]>, limits: &Limits) -> Result<Arc<dyn Plugin>, LoadError> {
    if trusted.is_some() && !FFI {
        let text = "trusted: true needs a build with FFI, which this is not; \
                    build one with: cargo build --release --features ffi";
        return Err(LoadError::new(text));
    }
    plugin::load(path, trusted, limits)
}

/// For `benches/engine`: begins and ends as many runs as it is told, in which nothing happens. What a
/// script's every entry pays for being watched.
#[doc(hidden)]
pub fn idle_runs() -> impl FnMut(u32) {
    let source = source::Source::default();
    let vm = vm::Vm::new(Arc::new(source), 1 << 20).expect("a VM is made");
    let limit = std::time::Duration::from_secs(1);
    move |times| {
        for _ in 0..times {
            std::hint::black_box(vm.metered(limit, false, || std::hint::black_box(())));
        }
    }
}

/// Whether this build has FFI: only such a one runs trusted plugins.
pub const FFI: bool = cfg!(feature = "ffi");
