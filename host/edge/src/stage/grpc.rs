//! A gRPC server, as a case plays it: all that is asked has come before it answers.

use bytes::{BufMut, Bytes, BytesMut};
use config::spec::{Answer, Grpc, GrpcAnswer, Message};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::Finding;
use super::cast::Received;
use super::pieces::{self, Pieces};
use super::verdict;

/// The byte and the length before each message.
const PREFIX: usize = 5;

/// A call as it must be.
pub fn asked(at: &str, wanted: &Grpc, found: &Received) -> Vec<Finding> {
    let content_type = found.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content_type.starts_with(b"application/grpc") {
        return vec![Finding::new(format!("{at}call"), "gRPC", format!("HTTP: {} {}", found.method, found.path))];
    }
    let mut findings = Vec::new();
    let (service, method) = found.path.trim_start_matches('/').rsplit_once('/').unwrap_or_default();
    for (name, wanted, found) in [("service", &wanted.service, service), ("method", &wanted.method, method)] {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
            findings.push(Finding::new(format!("{at}{name}"), wanted.clone(), found));
        }
    }
    verdict::map(&format!("{at}metadata"), &wanted.metadata, &found.headers, &mut findings);
    let Some(wanted) = &wanted.messages else { return findings };
    let messages = match messages(&found.body.bytes) {
        Ok(messages) => messages,
        Err(why) => {
            findings.push(Finding::new(format!("{at}messages"), "gRPC's framing", why));
            return findings;
        }
    };
    if wanted.len() != messages.len() {
        findings.push(Finding::new(format!("{at}messages"), wanted.len().to_string(), messages.len().to_string()));
    }
    for (number, (wanted, found)) in wanted.iter().zip(&messages).enumerate() {
        let at = if messages.len() == 1 { format!("{at}message") } else { format!("{at}message {}", number + 1) };
        message(at, wanted, found, &mut findings);
    }
    findings
}

fn message(at: String, wanted: &Message, found: &[u8], findings: &mut Vec<Finding>) {
    match wanted {
        Message::Bytes(wanted) if wanted != found => findings.push(Finding::new(at, hex(wanted), hex(found))),
        Message::Bytes(_) => {}
        Message::Text(Answer::Absent) if found.is_empty() => {}
        Message::Text(answer) => {
            verdict::value(at, answer, &[String::from_utf8_lossy(found).into_owned()], findings);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::from("hex "), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn messages(mut bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let cut = || format!("{} bytes that are no whole message", bytes.len());
        let prefix = bytes.first_chunk::<PREFIX>().ok_or_else(cut)?;
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        messages.push(bytes.get(PREFIX..PREFIX + len).ok_or_else(cut)?);
        bytes = &bytes[PREFIX + len..];
    }
    Ok(messages)
}

pub fn response(answer: &GrpcAnswer) -> Response<Pieces> {
    let mut last = pieces::map(&answer.trailers);
    last.insert("grpc-status", HeaderValue::from(answer.status));
    if !answer.text.is_empty() {
        last.insert("grpc-message", escaped(&answer.text));
    }
    let mut first = pieces::map(&answer.metadata);
    first.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let nothing_else = answer.messages.is_empty() && answer.metadata.is_empty();
    let mut response = if nothing_else {
        // Nothing but trailers, as servers send an error.
        first.extend(last);
        Response::new(Pieces::new(&[], &[]))
    } else {
        Response::new(Pieces::of_bytes(answer.messages.iter().map(|message| framed(message)), last))
    };
    *response.headers_mut() = first;
    response
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a file has no message of 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

/// What is not printable ASCII, and the percent sign, in percent-encoding.
fn escaped(text: &str) -> HeaderValue {
    let escape = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let text: String = text.bytes().map(escape).collect();
    HeaderValue::from_str(&text).expect("printable ASCII is a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart_or_what_is_none_is_said() {
        assert_eq!(messages(b"\0\0\0\0\x02hi\0\0\0\0\0"), Ok(vec![&b"hi"[..], b""]));
        assert_eq!(messages(b"\0\0\0\0\x03hi"), Err("7 bytes that are no whole message".to_owned()));
        assert_eq!(messages(b"\0"), Err("1 bytes that are no whole message".to_owned()));
    }

    #[test]
    fn a_text_is_escaped() {
        assert_eq!(escaped("50% of caf\u{e9}\n"), "50%25 of caf%C3%A9%0A");
    }
}
