//! One GET of an aggregator, an edge or another server of metrics, as an operator would ask.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

/// `authority`: `host:port`.
pub async fn get(authority: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    get_as(authority, path, None, PATIENCE).await
}

/// The same with a header `authorization`, and as much patience.
pub async fn get_as(
    authority: &str,
    path: &str,
    authorization: Option<&str>,
    patience: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let asked = async {
        let stream = TcpStream::connect(authority).await?;
        let (mut connection, driven) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driven);
        let mut request = Request::get(path).header("host", authority);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = connection.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let answer = tokio::time::timeout(patience, asked).await;
    answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {patience:?}"))).with_context(|| {
        // A query may be long, and says nothing of who is silent.
        format!("{authority}{}", path.split('?').next().unwrap_or_default())
    })
}

/// A value for a path or a query: what those may not hold as it is becomes `%20` and such.
pub fn escape(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
