//! The way to an origin: pick one, connect, send, retry what may be.

pub mod health;
pub mod warm;

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

use crate::body::Body;
use crate::reject::Reject;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// This worker's connections to origins.
pub struct Origins {}

/// Sends a request to an origin of `pool`: balancing, timeouts, one retry on another origin if
/// the method is safe and nothing came back. Hop-by-hop headers are gone already. Counts the
/// request in the pool's telemetry. The response body drives its own connection.
pub async fn send(
    _worker: &Rc<Worker>,
    _snapshot: &Arc<Snapshot>,
    pool: &str,
    _request: Request<Body>,
) -> Result<Response<Body>, Reject> {
    Err(Reject::NoOrigin { pool: pool.into() })
}

/// In the extensions of a response of [`send`]: who answered.
#[derive(Clone, Debug)]
pub struct Answerer {
    pub address: std::net::SocketAddr,
}
