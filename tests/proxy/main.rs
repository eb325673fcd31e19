//! The edge over real sockets: what a client and an origin see of it, and what they must not.
//!
//! - [`streaming`], [`framing`], [`forwarding`], [`interim`], [`upgrade`]: one exchange
//! - [`limits`], [`keepalive`], [`retry`], [`pools`]: many, and origins that fail
//! - [`kv`]: stores that plugins ask, and what becomes of exchanges when those are lost
//! - [`neighbours`]: a plugin that makes trouble, and the routes beside it
//! - [`routes`], [`tls`], [`client_certificates`], [`http2`], [`http2_stalls`]: ways in; [`targets`]: callouts out
//! - [`sources`], [`images`]: modules that are fetched; [`compiling`]: and compiled, aside
//! - [`reload`], [`reloads`], [`self_test`], [`drain`], [`observe`]: what an operator does

mod client_certificates;
mod compiling;
mod drain;
mod forwarding;
mod framing;
mod http2;
mod http2_stalls;
mod images;
mod interim;
mod keepalive;
mod kv;
mod limits;
mod neighbours;
mod observe;
mod pools;
mod properties;
mod reload;
mod reloads;
mod retry;
mod routes;
mod self_test;
mod sources;
mod streaming;
mod targets;
mod tls;
mod upgrade;
