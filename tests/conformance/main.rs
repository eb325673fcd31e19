//! One ABI for two engines: every behaviour is written as a Lua plugin (its text stands in the
//! test) and as a case of the Wasm guest (guest/), and one body tests both through a real edge. What
//! needs nothing but proxy-wasm is a case of guests in C, AssemblyScript and Go, too (guests/).
//!
//! - [`pair`]: a plugin in both languages, and the edge that runs it
//! - [`headers`], [`body`], [`exchange`], [`ending`], [`event`], [`callout`], [`context`], [`dict`], [`kv`], [`queue`],
//!   [`limit`], [`metric`], [`origin`], [`scale`], [`log`], [`secret`], [`limits`], [`trace`], [`time`],
//!   [`meta`]: what each hostcall does
//! - [`grpc`]: gRPC, before a server of ours; [`grpc_real`]: before python's
//! - [`tasks`]: async/await of the SDK for Rust
//! - [`phases`]: every hostcall in every phase, allowed or refused as the table says
//! - [`policy`]: what a plugin proposes where a pool's scaling asks it
//! - [`contexts`]: every import in every callback of proxy-wasm
//! - [`capabilities`]: what was not granted is refused
//! - [`faults`]: what a plugin must not do costs one exchange; [`life`]: and what many faults cost it
//! - [`isolation`]: what exchanges share of an instance, and whom its end reaches
//! - [`reports`]: what is said of a fault
//! - [`differential`]: random programs do the same in both engines
//! - [`coverage`]: no row of the table is without a test

mod body;
mod callout;
mod capabilities;
mod context;
mod contexts;
mod coverage;
mod dict;
mod differential;
mod ending;
mod event;
mod exchange;
mod faults;
mod grpc;
mod grpc_real;
mod headers;
mod isolation;
mod kv;
mod life;
mod limit;
mod limits;
mod log;
mod meta;
mod metric;
mod origin;
mod pair;
mod phases;
mod policy;
mod queue;
mod reports;
mod scale;
mod secret;
mod tasks;
mod time;
mod trace;
