//! What the aggregator and the edge say of themselves, asked over their own APIs as an operator
//! would ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use tokio::net::TcpStream;

#[derive(Deserialize)]
struct Pools {
    pools: BTreeMap<String, PoolView>,
}

#[derive(Deserialize)]
struct Decisions {
    decisions: Vec<Decision>,
}

/// Of the aggregator's answers, what is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PoolView {
    pub capacity: Capacity,
    pub origin_seconds: f64,
    pub origins: Vec<OriginView>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Capacity {
    pub booting: u32,
    pub warming: u32,
    pub serving: u32,
    pub draining: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct OriginView {
    pub stage: String,
    #[serde(deserialize_with = "perhaps_instant")]
    pub serving_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Decision {
    #[serde(deserialize_with = "instant")]
    pub at: Timestamp,
    pub pool: String,
    pub from: u32,
    pub to: u32,
    pub line: String,
}

/// By plugin.
#[derive(Clone, Debug, Default)]
pub struct PluginCounts {
    pub calls: u64,
    /// The calls by callback.
    pub callbacks: BTreeMap<String, u64>,
    pub faults: u64,
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let (mut connection, driven) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driven);
        let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
    answer.context("no answer within 2 s").flatten().with_context(|| format!("http://{address}{path}"))
}

async fn get_json<T: DeserializeOwned>(address: SocketAddr, path: &str) -> anyhow::Result<T> {
    serde_json::from_slice(&get(address, path).await?).with_context(|| format!("http://{address}{path}"))
}

fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn perhaps_instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

impl PoolView {
    /// Since when `count` origins take their full share, if that many serve.
    pub fn ready_since(&self, count: u32, slow_start: Duration) -> Option<Timestamp> {
        let serving = self.origins.iter().filter(|origin| origin.stage == "serving");
        let mut since: Vec<Timestamp> = serving.filter_map(|origin| origin.serving_at).collect();
        since.sort();
        let last = since.get((count as usize).checked_sub(1)?)?;
        last.checked_add(slow_start).ok()
    }
}

pub async fn pool(aggregator: SocketAddr, name: &str) -> anyhow::Result<PoolView> {
    let mut pools: Pools = get_json(aggregator, "/v1/pools").await?;
    pools.pools.remove(name).with_context(|| format!("the aggregator does not know the pool `{name}`"))
}

pub async fn decisions(aggregator: SocketAddr) -> anyhow::Result<Vec<Decision>> {
    let mut decisions = get_json::<Decisions>(aggregator, "/v1/decisions?limit=1000").await?.decisions;
    decisions.sort_by_key(|decision| decision.at);
    Ok(decisions)
}
/// From the edge's Prometheus text, as a dashboard would get it.
pub async fn plugins(admin: SocketAddr) -> anyhow::Result<BTreeMap<String, PluginCounts>> {
    Ok(count_plugins(std::str::from_utf8(&get(admin, "/metrics").await?)?))
}

fn count_plugins(metrics: &str) -> BTreeMap<String, PluginCounts> {
    let mut plugins: BTreeMap<String, PluginCounts> = BTreeMap::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let value = value.parse::<f64>().map_or(0, |value| value as u64);
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let Some(plugin) = label("plugin") else { continue };
        match name {
            "forebay_plugin_calls_total" => {
                let counts = plugins.entry(plugin).or_default();
                counts.calls += value;
                *counts.callbacks.entry(label("callback").unwrap_or_default()).or_default() += value;
            }
            "forebay_plugin_faults_total" => plugins.entry(plugin).or_default().faults += value,
            _ => {}
        }
    }
    plugins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_counted_from_prometheus_text() {
        let text = "# TYPE forebay_plugin_calls_total counter\n\
            forebay_plugin_calls_total{plugin=\"a\",callback=\"on_request_headers\"} 7\n\
            forebay_plugin_calls_total{callback=\"on_log\",plugin=\"a\"} 5\n\
            forebay_plugin_faults_total{plugin=\"b\",verdict=\"CPU\"} 2\n\
            forebay_requests_total{route=\"a\"} 100\n";
        let plugins = count_plugins(text);
        assert_eq!((plugins["a"].calls, plugins["a"].faults, plugins["a"].callbacks["on_log"]), (12, 0, 5));
        assert_eq!((plugins["b"].calls, plugins["b"].faults), (0, 2));
        assert_eq!(plugins.len(), 2);
    }

    fn origin(stage: &str, serving_at: Option<&str>) -> OriginView {
        let serving_at = serving_at.map(|at| at.parse().unwrap());
        OriginView { stage: stage.into(), serving_at }
    }

    #[test]
    fn capacity_is_ready_when_the_last_origin_that_it_takes_has_its_full_share() {
        let origins = vec![
            origin("serving", Some("2026-01-01T00:00:05Z")),
            origin("booting", None),
            origin("serving", Some("2026-01-01T00:00:01Z")),
            origin("draining", Some("2026-01-01T00:00:00Z")),
        ];
        let pool = PoolView { origins, ..PoolView::default() };
        let ready = |count| pool.ready_since(count, Duration::from_secs(2));
        assert_eq!(ready(2), Some("2026-01-01T00:00:07Z".parse().unwrap()));
        assert_eq!(ready(3), None);
    }
}
