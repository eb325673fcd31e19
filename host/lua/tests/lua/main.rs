//! The Lua engine from outside: a plugin file, an `abi::Host` that records, and what happened.
//!
//! - [`fake`]: the recording host, and plugins from a text;
//! - [`calls`]: every hostcall; [`waits`]: what waits, and goes on;
//! - [`loading`]: files that do not load; [`library`]: what a script finds of Lua, and [`differential`] whether it
//!   does what LuaJIT does; [`matcher`]: patterns against LuaJIT's own;
//! - [`bombs`], [`attacks`]: scripts that misbehave, and their neighbours; [`teardown`]: VMs come and go;
//! - [`tables`]: tables and repetitions, which our build of LuaJIT makes in ways of its own;
//! - [`trusted`]: plugins that get FFI, in a build that has it, and their refusal in one that has not;
//! - [`sdk`]: documentation and editor types against the table of hostcalls; [`plugins`]: those we ship.

mod attacks;
mod bombs;
mod calls;
mod differential;
mod fake;
mod kit;
mod kv;
mod library;
mod loading;
mod matcher;
mod sdk;
mod tables;
mod teardown;
mod trusted;
mod waits;

/// That of the binary: what large strings cost depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
