//! The admin address: what an operator and an orchestrator may ask a running edge. Served by the
//! control thread, for trusted networks: it has no authentication. All of it only reads, but for
//! `POST /plugins/NAME/enable`, with which an operator ends the disabled state of a plugin (on all
//! routes, or on that of `?route=NAME`).

mod effective;
mod gauges;
mod views;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::worker::Shared;

/// Connections at once; more wait.
const CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const PATHS: [&str; 6] = ["/healthz", "/readyz", "/metrics", "/config", "/plugins", "/pools"];

/// Whether this edge takes traffic.
#[derive(Debug, Default)]
pub struct Standing {
    /// Workers that accept connections.
    pub accepting: AtomicUsize,
    pub draining: AtomicBool,
}

impl Standing {
    /// Why it is not ready, or `Ok`. `workers` is how many there should be.
    pub fn ready(&self, workers: usize) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining".into());
        }
        let accepting = self.accepting.load(Ordering::Relaxed);
        if accepting < workers { Err(format!("{accepting} of {workers} workers accept")) } else { Ok(()) }
    }
}

/// Serves the admin address until it is dropped.
pub async fn serve(shared: Arc<Shared>, metrics: PrometheusHandle, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(target: "forebay::admin", %error, "the admin address cannot be served"),
    };
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: it passes or it does not, but spinning
                // would make it worse.
                tracing::warn!(target: "forebay::admin", %error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (shared, metrics) = (shared.clone(), metrics.clone());
        tokio::task::spawn_local(async move {
            let _permit = permit;
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&shared, &metrics, request.method(), request.uri());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(target: "forebay::admin", %error, "connection ended");
            }
        });
    }
}

fn answer(shared: &Shared, metrics: &PrometheusHandle, method: &Method, uri: &Uri) -> Response<Full<Bytes>> {
    let path = uri.path();
    if let Some(plugin) = path.strip_prefix("/plugins/").and_then(|rest| rest.strip_suffix("/enable")) {
        return if method == Method::POST {
            enable(shared, plugin, uri.query())
        } else {
            not_allowed(method, path, "POST")
        };
    }
    if !PATHS.contains(&path) {
        let error = json!({ "error": format!("no path {path}"), "paths": PATHS });
        return json_response(StatusCode::NOT_FOUND, &error);
    }
    if method != Method::GET && method != Method::HEAD {
        return not_allowed(method, path, "GET, HEAD");
    }
    let snapshot = shared.snapshot.load_full();
    match path {
        "/healthz" => json_response(StatusCode::OK, &json!({ "alive": true })),
        "/readyz" => {
            let workers = snapshot.region.edge.as_ref().map_or(0, |edge| edge.workers);
            match shared.standing.ready(workers) {
                Ok(()) => json_response(StatusCode::OK, &json!({ "ready": true })),
                Err(why) => json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "error": why })),
            }
        }
        "/metrics" => {
            shared.ledger.publish(&shared.membership);
            shared.state.publish();
            let of_plugins = shared.state.metrics.render(|plugin| snapshot.region.plugins.contains_key(plugin));
            let text = metrics.render() + &gauges::render(shared, &snapshot) + &of_plugins;
            respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/config" => json_response(StatusCode::OK, &effective::region(&snapshot.region)),
        "/plugins" => json_response(StatusCode::OK, &views::plugins(shared, &snapshot)),
        "/pools" => json_response(StatusCode::OK, &views::pools(shared)),
        _ => json_response(StatusCode::NOT_FOUND, &json!({ "error": "listed and not served" })),
    }
}

/// Ends the disabled state of a plugin, and forgives the faults that are counted.
fn enable(shared: &Shared, plugin: &str, query: Option<&str>) -> Response<Full<Bytes>> {
    let snapshot = shared.snapshot.load_full();
    let only = match query.map(|query| query.strip_prefix("route=")) {
        None => None,
        Some(Some(route)) => Some(route),
        Some(None) => {
            let error = format!("query {:?}; allowed is route=NAME", query.unwrap_or_default());
            return json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        }
    };
    let lives: Vec<_> = snapshot.plugins.lives().filter(|life| **life.plugin() == *plugin).collect();
    let routes: Vec<&str> = lives.iter().map(|life| &*life.route).collect();
    let meant: Vec<_> = lives.iter().filter(|life| only.is_none_or(|route| *life.route == *route)).collect();
    if meant.is_empty() {
        let mut names: Vec<&str> = snapshot.plugins.lives().map(|life| &**life.plugin()).collect();
        names.sort_unstable();
        names.dedup();
        let error = match only {
            Some(route) if !routes.is_empty() => format!("plugin {plugin:?} is not on a route {route:?}"),
            _ => format!("no route uses a plugin {plugin:?}"),
        };
        let error = json!({ "error": error, "routes": routes, "plugins": names });
        return json_response(StatusCode::NOT_FOUND, &error);
    }
    let enabled: Vec<&str> = meant.iter().filter(|life| life.enable()).map(|life| &*life.route).collect();
    json_response(StatusCode::OK, &json!({ "plugin": plugin, "enabled_on": enabled }))
}

fn not_allowed(method: &Method, path: &str, allowed: &'static str) -> Response<Full<Bytes>> {
    let error = json!({ "error": format!("method {method} on {path}; allowed: {allowed}") });
    let mut response = json_response(StatusCode::METHOD_NOT_ALLOWED, &error);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", format!("{value:#}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
