//! Tells each plugin of a route the events of an exchange, in order, and pulls its bodies
//! through them.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

use crate::body::Body;
use crate::reject::Reject;
use crate::route::Route;
use crate::serve::Connection;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// A body that is pulled through the plugins of one side.
pub struct ChainBody {}

/// What the chain made of a request: a response (of the origin, of a plugin), and what is to be
/// said of it. `detail` is for the access log.
pub struct Answered {
    pub response: Response<Body>,
    pub detail: Option<String>,
}

/// Serves a request on a route with plugins: request events in order, the origin, response
/// events in reverse order; `on_log` when the response body has ended or was dropped. Hop-by-hop
/// headers have been removed and forwarding headers set by the caller.
pub async fn serve(
    _worker: &Rc<Worker>,
    _snapshot: &Arc<Snapshot>,
    _route: &Arc<Route>,
    _connection: &Rc<Connection>,
    _request_id: &str,
    _request: Request<Body>,
) -> Result<Answered, Reject> {
    Err(Reject::NoRoute)
}
