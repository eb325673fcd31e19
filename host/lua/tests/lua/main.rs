//! The Lua engine from outside: a plugin file, an `abi::Host` that records, and what happened.
//!
//! - [`fake`]: the recording host, and plugins from a text;
//! - [`calls`]: every hostcall; [`waits`]: what waits, and goes on;
//! - [`loading`]: files that do not load; [`library`]: what a script finds of Lua;
//! - [`bombs`]: scripts that misbehave, and their neighbours; [`matcher`]: patterns against LuaJIT's own;
//! - [`trusted`]: plugins that get FFI, in a build that has it, and their refusal in one that has not;
//! - [`sdk`]: documentation and editor types against the table of hostcalls; [`plugins`]: those we ship.

mod attacks;
mod bombs;
mod calls;
mod fake;
mod generated;
mod kit;
mod kv;
mod library;
mod loading;
mod matcher;
mod sdk;
mod trusted;
mod waits;
