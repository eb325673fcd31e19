//! One GET of an aggregator or an edge of ours, as an operator would ask.

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
    let asked = async {
        let stream = TcpStream::connect(authority).await?;
        let (mut connection, driven) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driven);
        let request = Request::get(path).header("host", authority).body(Empty::<Bytes>::new())?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {PATIENCE:?}")))
        .with_context(|| format!("{authority}{path}"))
}
