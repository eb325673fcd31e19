//! Responses that no origin gave.

use abi::LocalAnswer;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};

use crate::body::Body;
use crate::exchange::Exchange;

pub fn direct_response(direct: &config::DirectResponse) -> Response<Body> {
    let mut response = Response::new(Body::Full(Bytes::from(direct.body.clone())));
    *response.status_mut() = StatusCode::from_u16(direct.status).unwrap_or(StatusCode::OK);
    for (name, value) in &direct.headers {
        append(response.headers_mut(), name.as_bytes(), value.as_bytes());
    }
    response
}

pub fn local_response(answer: LocalAnswer, exchange: &Exchange) -> Response<Body> {
    let bodiless = matches!(answer.status, 204 | 304);
    let length = answer.body.len();
    let body = if bodiless || answer.body.is_empty() { Body::Empty } else { Body::Full(answer.body) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &answer.headers {
        append(headers, name, value);
    }
    headers.remove(TRANSFER_ENCODING);
    if bodiless {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let grpc = exchange
        .request
        .borrow()
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    if let Some(status) = answer.grpc_status.filter(|status| *status >= 0 && grpc) {
        headers.insert("grpc-status", status.into());
    }
    response
}

/// What cannot stand in a header is left out; both who writes the configuration and who answers from a
/// plugin have been told before.
fn append(headers: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        headers.append(name, value);
    }
}
