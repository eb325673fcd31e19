//! gRPC calls and streams. What comes of one is read while the guest is told of it: metadata and trailers
//! as maps 4 and 5, a message as buffer 5, why it is closed by `proxy_get_status`.

use std::time::Duration;

use abi::{Answer, GrpcRequest, Refusal, Status, Token};

use super::Guest;
use super::protobuf::{self, Field};
use crate::memory::{self, Outcome};

/// Whom a guest calls.
struct Upstream<'a> {
    name: &'a str,
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A name, or what other hosts take besides: a serialized `envoy.config.core.v3.GrpcService`, which begins
/// with a control character, as no name does.
fn upstream(bytes: &[u8]) -> Answer<Upstream<'_>> {
    if bytes.first().is_some_and(u8::is_ascii_control) {
        return service(bytes)
            .ok_or_else(|| Refusal::new(Status::ParseFailure, "the upstream is neither a name nor a GrpcService"));
    }
    let name = std::str::from_utf8(bytes);
    let name = name.map_err(|_| Refusal::new(Status::ParseFailure, "the name of the upstream is no UTF-8"))?;
    Ok(Upstream { name, metadata: Vec::new() })
}

/// Cluster and authority of `envoy_grpc` (1), `target_uri` of `google_grpc` (2), `initial_metadata` (5).
/// What else may be in it belongs to the host that it was written for.
fn service(bytes: &[u8]) -> Option<Upstream<'_>> {
    let (mut name, mut metadata) = ("", Vec::new());
    for field in protobuf::fields(bytes) {
        let (number, Field::Bytes(bytes)) = field? else { continue };
        match number {
            1 => {
                for field in protobuf::fields(bytes) {
                    match field? {
                        (1, Field::Bytes(cluster)) => name = std::str::from_utf8(cluster).ok()?,
                        (2, Field::Bytes(authority)) => metadata.push((b":authority".to_vec(), authority.to_vec())),
                        _ => {}
                    }
                }
            }
            2 => {
                for field in protobuf::fields(bytes) {
                    if let (1, Field::Bytes(uri)) = field? {
                        name = std::str::from_utf8(uri).ok()?;
                    }
                }
            }
            5 => metadata.push(header(bytes)?),
            _ => {}
        }
    }
    (!name.is_empty()).then_some(Upstream { name, metadata })
}

/// A `HeaderValue`: key (1), value (2) or raw_value (3).
fn header(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for field in protobuf::fields(bytes) {
        match field? {
            (1, Field::Bytes(bytes)) => key = bytes.to_vec(),
            (2 | 3, Field::Bytes(bytes)) => value = bytes.to_vec(),
            _ => {}
        }
    }
    Some((key, value))
}

/// Where a text or bytes of the guest stand.
type Place = (u32, u32);

fn start(
    guest: &mut Guest<'_>,
    [target, service, method, metadata]: [Place; 4],
    message: Option<Place>,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    let (data, state) = memory::view(guest)?;
    // Nothing must be started whose token cannot be told.
    memory::bytes(data, token_out, 4)?;
    state.can_wait("grpc.call")?;
    let message = message.map(|(at, len)| memory::payload(guest, at, len)).transpose()?;
    let (data, state) = memory::view(guest)?;
    let (target, metadata) = (memory::name(data, target.0, target.1)?, memory::bytes(data, metadata.0, metadata.1)?);
    let (service, method) = (memory::text(data, service.0, service.1)?, memory::text(data, method.0, method.1)?);
    let Upstream { name, metadata: mut all } = upstream(target)?;
    let given = memory::decode_pairs(metadata)?;
    all.extend(given.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())));
    let request = GrpcRequest {
        service: service.to_owned(),
        method: method.to_owned(),
        metadata: all,
        message,
        timeout: (timeout > 0).then(|| Duration::from_millis(timeout.into())),
    };
    let token = state.host().grpc(name, request).map_err(|refusal| match refusal.status {
        // Envoy's answer to a cluster that it does not know.
        Status::NotFound => Refusal { status: Status::ParseFailure, ..refusal },
        _ => refusal,
    })?;
    memory::answer_u32(guest, token_out, token.0)
}

#[allow(clippy::too_many_arguments)] // proxy-wasm's own
pub fn call(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    message: u32,
    message_len: u32,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    let places = [(target, target_len), (service, service_len), (method, method_len), (metadata, metadata_len)];
    start(guest, places, Some((message, message_len)), timeout, token_out)
}

#[allow(clippy::too_many_arguments)] // proxy-wasm's own
pub fn stream(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    token_out: u32,
) -> Outcome {
    let places = [(target, target_len), (service, service_len), (method, method_len), (metadata, metadata_len)];
    start(guest, places, None, 0, token_out)
}

pub fn send(guest: &mut Guest<'_>, token: u32, message: u32, message_len: u32, end: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let message = memory::bytes(data, message, message_len)?;
    let sent = state.host().grpc_send(Token(token), message, end != 0);
    Ok(sent.map_err(|refusal| match refusal.status {
        // What SDKs take for an answer; Rust's stops at InternalFailure.
        Status::LimitExceeded => Refusal { status: Status::BadArgument, ..refusal },
        _ => refusal,
    })?)
}

pub fn cancel(guest: &mut Guest<'_>, token: u32) -> Outcome {
    Ok(guest.data().host().grpc_cancel(Token(token))?)
}

pub fn close(guest: &mut Guest<'_>, token: u32) -> Outcome {
    Ok(guest.data().host().grpc_close(Token(token))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn read(bytes: &[u8]) -> Result<(String, Vec<(String, String)>), Status> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let upstream = upstream(bytes).map_err(|refusal| refusal.status)?;
        let metadata = upstream.metadata.into_iter().map(|(name, value)| (text(name), text(value)));
        Ok((upstream.name.to_owned(), metadata.collect()))
    }

    #[test]
    fn an_upstream_is_a_name_or_a_service_as_envoy_writes_it() {
        assert_eq!(read(b"shop"), Ok(("shop".into(), vec![])));
        let cluster = field(1, &[field(1, b"shop"), field(2, b"shop.test")].concat());
        // A timeout (3) and a retry policy (6) are passed over.
        let rest =
            [field(3, b"\x08\x05"), field(5, &[field(1, b"x-a"), field(2, b"b")].concat()), field(6, b"")].concat();
        let wanted = vec![(":authority".to_owned(), "shop.test".to_owned()), ("x-a".to_owned(), "b".to_owned())];
        assert_eq!(read(&[cluster, rest].concat()), Ok(("shop".into(), wanted)));
        let google = field(2, &[field(1, b"dns:///shop:50051"), field(4, b"stats")].concat());
        assert_eq!(read(&google), Ok(("dns:///shop:50051".into(), vec![])));
    }

    #[test]
    fn what_is_neither_is_a_parse_failure() {
        let cut = &field(1, &field(1, b"shop"))[..4];
        for bytes in [b"\xff".as_slice(), b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x10\x01", cut] {
            assert_eq!(read(bytes), Err(Status::ParseFailure), "{bytes:x?}");
        }
    }
}
