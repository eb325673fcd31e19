//! How the length of a message is told once the plugins have had it.

use abi::Side;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::Chain;

impl Chain {
    /// A length was stated.
    pub fn has_length(&self, side: Side) -> bool {
        match side {
            Side::Request => self.exchange.request.borrow().headers.contains_key(CONTENT_LENGTH),
            Side::Response => {
                let response = self.exchange.response.borrow();
                response.as_ref().is_some_and(|response| response.headers.contains_key(CONTENT_LENGTH))
            }
        }
    }

    /// States the length that the body really has, or none.
    pub fn frame(&self, side: Side, length: Option<u64>) {
        // With trailers to come HTTP/1 needs chunks: no length then.
        let length = length.filter(|_| self.exchange.trailers(side).borrow().is_none());
        let write = |headers: &mut HeaderMap, bare: bool| {
            headers.remove(TRANSFER_ENCODING);
            match length {
                Some(0) if bare => drop(headers.remove(CONTENT_LENGTH)),
                Some(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
                None => drop(headers.remove(CONTENT_LENGTH)),
            }
        };
        match side {
            Side::Request => {
                let mut request = self.exchange.request.borrow_mut();
                let bare = matches!(request.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
                write(&mut request.headers, bare);
            }
            Side::Response => {
                // Of HEAD the origin tells the length of what it does not send. Bytes come all the same if a plugin
                // has asked for them (by another method) or has answered: then theirs is true.
                let untold = self.headless && length.is_none_or(|length| length == 0);
                if let Some(response) = self.exchange.response.borrow_mut().as_mut().filter(|_| !untold) {
                    write(&mut response.headers, false);
                }
            }
        }
    }

    /// A length that a plugin wrote on a message without a body is not to be trusted either:
    /// who reads it would take the next message for this one's body.
    pub fn frame_nothing(&self, side: Side) {
        let invented = |headers: &HeaderMap| headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        match side {
            Side::Request => {
                let headers = &mut self.exchange.request.borrow_mut().headers;
                if invented(headers) {
                    headers.remove(CONTENT_LENGTH);
                }
            }
            Side::Response => {
                // Of HEAD and 304 it tells the length of what is not sent.
                let mut response = self.exchange.response.borrow_mut();
                let response = response.as_mut().filter(|r| !self.headless && r.status != StatusCode::NOT_MODIFIED);
                if let Some(response) = response.filter(|response| invented(&response.headers)) {
                    response.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
            }
        }
    }
}
