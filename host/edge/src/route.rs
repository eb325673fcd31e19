//! Finds the route of a request. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::plugins::Bound;

/// One route, compiled.
pub struct Route {
    pub name: Arc<str>,
    pub spec: Arc<config::Route>,
    /// In the order of the file; response events go through it backwards.
    pub plugins: Vec<Arc<Bound>>,
}
