//! What the tests drive: real processes of the real binary, and origins and clients that can
//! misbehave on purpose. Everything listens on 127.0.0.1, on ports that the system gave.
//!
//! - [`edge`]: `forebay run -c FILE` on a region file that the test wrote
//! - [`process`]: one process of the binary: its log, its signals, its end
//! - [`origin`]: an HTTP/1.1 origin in this process, one closure for each request
//! - [`origin_http2`]: the same over HTTP/2 with prior knowledge
//! - [`grpc`]: a gRPC server, whose methods are the cases; [`real_grpc`]: one that somebody else has written
//! - [`client`]: HTTP/1.1 by hand, so that it can be malformed; [`client_http2`]: HTTP/2,
//!   [`client_frames`]: frame by frame
//! - [`http1`]: messages on a socket, for both
//! - [`module`]: Wasm plugins of a few lines; [`signer`]: keys, and what is signed by them
//! - [`registry`]: an OCI registry over TLS
//! - [`redis`]: a Redis server, a cluster of them; [`prometheus`]: a Prometheus server
//! - [`certificate`]: a certificate for `localhost` and who trusts it; [`authority`]: those of clients
//! - [`metrics`]: the numbers of `/metrics`
//! - [`binary`]: where the binary and the built guests are
//! - [`port`], [`folder`]: what one test has to itself
//! - [`wall`]: a wall clock that a test sets under its processes
//! - [`wait`]: waiting for a condition, with a deadline
//!
//! Nothing here skips: what is missing fails with a sentence on what to run.

pub mod authority;
pub mod binary;
pub mod certificate;
pub mod client;
pub mod client_frames;
pub mod client_http2;
pub mod edge;
pub mod folder;
pub mod grpc;
pub mod http1;
pub mod metrics;
pub mod module;
pub mod origin;
pub mod origin_http2;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod real_grpc;
pub mod redis;
pub mod registry;
pub mod signer;
pub mod wait;
pub mod wall;

pub use authority::{Authority, Identity};
pub use certificate::Certificate;
pub use client::{Client, get};
pub use client_frames::Frames;
pub use client_http2::Http2;
pub use edge::{Edge, Setup, list, to_shop};
pub use folder::Folder;
pub use grpc::Grpc;
pub use http1::{Head, Headers, Response};
pub use origin::{Exchange, Origin};
pub use port::Port;
pub use process::Process;
pub use prometheus::Prometheus;
pub use real_grpc::RealGrpc;
pub use redis::Redis;
pub use registry::Registry;
pub use signer::Signer;
pub use wait::{PATIENCE, wait_until};
pub use wall::WallClock;

#[cfg(test)]
mod tests;
