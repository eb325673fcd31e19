//! What a plugin of Forebay in Rust needs beyond the `proxy-wasm` crate.
//!
//! - [`task`]: async/await for exchanges that wait; [`reply`]: what they wait for;
//! - [`callout`]: HTTP requests, several at once, and such as are sent again;
//! - [`event`]: the server-sent events of a response;
//! - [`config`]: the configuration as a type of your own;
//! - [`limits`]: what is left of them;
//! - [`kv`]: key-value stores of the region;
//! - [`log`]: lines with fields; [`metric`]: metrics with labels;
//! - [`dict`], [`queue`], [`limit`]: what plugins of all workers share;
//! - [`meta`]: which host this is, and which hostcalls it has;
//! - [`origin`]: which origin gets the request;
//! - [`packed`]: the wire of Forebay's own calls, for those that have no function here;
//! - [`secret`]: values that can be used and not read;
//! - [`scale`]: what is coming to a pool;
//! - [`trace`]: spans in the log;
//! - [`time`]: a pause that does not stop the worker.
//!
//! Everything of Forebay's own is reached by `proxy_call_foreign_function`: a module that uses
//! this crate has no import that another host of proxy-wasm lacks, loads there, and is told
//! there by [`meta::version`] that it is not on Forebay.

pub mod callout;
pub mod config;
pub mod event;
pub mod limits;
pub mod kv;
pub mod log;
pub mod dict;
pub mod limit;
pub mod meta;
pub mod origin;
pub mod metric;
pub mod packed;
pub mod secret;
pub mod scale;
pub mod queue;
pub mod reply;
pub mod task;
pub mod time;
pub mod trace;

pub use proxy_wasm;
