//! One request to an aggregator, an edge or another server of metrics, as an operator would ask.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::region::Unfit;

const PATIENCE: Duration = Duration::from_secs(10);

/// `authority`: `host:port`.
pub async fn get(authority: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    get_as(authority, path, None, PATIENCE).await
}

/// The same by another method, without a body.
pub async fn ask(method: Method, authority: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    asked(method, authority, path, None, PATIENCE).await
}

/// Where an aggregator of the quickstart and of the reference listens.
pub const USUAL: &str = "http://127.0.0.1:9902";

/// `host:port` of an aggregator's URL.
pub fn authority(url: &str) -> Result<String, Unfit> {
    let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let fits = |rest: &&str| {
        let port = rest.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
        !rest.contains('/') && port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    match rest.filter(fits) {
        Some(rest) => Ok(rest.to_string()),
        None => Err(Unfit::one(format!("--aggregator {url}; allowed is http://host:port"))),
    }
}

/// `host:port` of the aggregator that a region file is of, or that its edge reports to.
pub fn of_region(region: &config::Region) -> anyhow::Result<Option<String>> {
    let named = region.aggregator.as_ref().map(|aggregator| aggregator.address.to_string());
    match (named, region.edge.as_ref().and_then(|edge| edge.aggregators.first())) {
        (Some(named), _) => Ok(Some(named)),
        (None, Some(url)) => Ok(Some(authority(url)?)),
        (None, None) => Ok(None),
    }
}

/// The same with a header `authorization`, and as much patience.
pub async fn get_as(
    authority: &str,
    path: &str,
    authorization: Option<&str>,
    patience: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    asked(Method::GET, authority, path, authorization, patience).await
}

async fn asked(
    method: Method,
    authority: &str,
    path: &str,
    authorization: Option<&str>,
    patience: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let asked = async {
        let stream = TcpStream::connect(authority).await?;
        let (mut connection, driven) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driven);
        let mut request = Request::builder().method(method).uri(path).header("host", authority);
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
