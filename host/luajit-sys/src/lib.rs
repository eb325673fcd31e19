//! Links our own build of LuaJIT (see `build.rs`), for `mlua-sys` with its feature `external`.
//!
//! There is nothing to call: `use luajit_sys as _;` makes the archive part of a binary.
//!
//! The feature `ffi` builds it with the FFI library, for plugins that the configuration trusts.
//!
//! **Unsafe:** this crate exports one C symbol, because the default build has no FFI and
//! `mlua-sys` names its opener all the same.

#[cfg(not(feature = "ffi"))]
use std::ffi::{c_int, c_void};

/// Stands in for the FFI library that the build leaves out: opens nothing.
#[cfg(not(feature = "ffi"))]
#[unsafe(no_mangle)]
pub extern "C" fn luaopen_ffi(_: *mut c_void) -> c_int {
    0
}
