//! Passes an origin's interim answers (103 Early Hints and the like) to the client. The HTTP
//! library's server cannot write any, so they go into the connection's bytes just before the
//! final head. HTTP/2 clients get none: there the library leaves no way in.

use std::sync::Arc;

use crate::serve::tap::Tap;

/// Where the interim heads of one request go. In the extensions of a request for
/// [`crate::origin::send`].
#[derive(Clone)]
pub struct InterimSink(pub(crate) Arc<Tap>);

impl InterimSink {
    /// `head` is whole and ends in an empty line.
    pub(crate) fn pass(&self, head: &[u8]) {
        self.0.pass_interim(head);
    }
}
