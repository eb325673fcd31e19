//! HTTP: edges report here, and people ask why.
//!
//! `POST /v1/reports`, `GET /v1/decisions`, `GET /v1/pools`, `GET /v1/pools/NAME/explain`,
//! `GET /v1/pools/NAME/history`, `POST /v1/pools/NAME/origins/ADDRESS/leaving`,
//! `GET`, `PUT` and `DELETE /v1/pools/NAME/hold`, `GET /healthz`, and `GET /metrics` where nobody else in the process
//! serves it. HTTP/1.1 and HTTP/2 with prior knowledge on one port.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use scaler::PoolView;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::{Shared, ingest};

mod decisions;
mod history;
mod hold;
mod leaving;
mod query;
pub mod reading;

/// Edges keep one connection each; the rest is for people.
const MOST_CONNECTIONS: usize = 4096;
/// For a request's headers, and for its body.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

pub async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the aggregator cannot listen");
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    converse(stream, shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying at once would spin.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are one small write each.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(http2)) = tokio::time::timeout(PATIENCE, speaks_http2(&stream)).await else { return };
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let io = TokioIo::new(stream);
    let ended = if http2 {
        // Whoever has gone without a word, or never speaks, keeps no place from an edge.
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PATIENCE).keep_alive_timeout(PATIENCE);
        builder.serve_connection(io, service).await
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE * 6);
        builder.serve_connection(io, service).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The first bytes of HTTP/2 are `PRI`, which is no HTTP/1 method.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut start = [0; 3];
    loop {
        let found = stream.peek(&mut start).await?;
        if found == start.len() || found == 0 || !b"PRI".starts_with(&start[..found]) {
            return Ok(&start == b"PRI");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Answer {
    let path = request.uri().path().to_string();
    let leaving = path.strip_prefix("/v1/pools/").and_then(leaving::path);
    if let Some(name) = path.strip_prefix("/v1/pools/").and_then(|rest| rest.strip_suffix("/hold")) {
        return hold::answer(request.method(), name, request.uri().query().unwrap_or(""), shared);
    }
    let allowed = if path == "/v1/reports" || leaving.is_some() { Method::POST } else { Method::GET };
    if *request.method() != allowed {
        let detail = format!("{} {path}; allowed is {allowed}", request.method());
        return fail(StatusCode::METHOD_NOT_ALLOWED, "method", &detail);
    }
    if let Some((name, address)) = leaving {
        return leaving::answer(name, address, request.uri().query().unwrap_or(""), shared);
    }
    match path.as_str() {
        "/v1/reports" => report(request, shared).await,
        "/v1/decisions" => decisions::list(request.uri().query().unwrap_or(""), shared).await,
        "/v1/pools" => pools(shared),
        "/healthz" => text("ok\n".to_string()),
        "/metrics" => match &shared.options.metrics {
            Some(render) => text(render()),
            None => fail(StatusCode::NOT_FOUND, "path", "metrics are at the edge's admin address"),
        },
        path => match path.strip_prefix("/v1/pools/").and_then(|rest| rest.split_once('/')) {
            Some((name, "explain")) => decisions::explain(name, request.uri().query().unwrap_or(""), shared).await,
            Some((name, "history")) => history::answer(name, request.uri().query().unwrap_or(""), shared).await,
            _ => {
                let known = "/v1/reports, /v1/decisions, /v1/pools, /v1/pools/NAME/explain, \
                             /v1/pools/NAME/history, /v1/pools/NAME/hold, /v1/pools/NAME/origins/ADDRESS/leaving, /healthz, /metrics";
                fail(StatusCode::NOT_FOUND, "path", &format!("{path}; there are {known}"))
            }
        },
    }
}

async fn report(request: Request<Incoming>, shared: &Shared) -> Answer {
    let body = Limited::new(request.into_body(), ingest::MOST_BYTES).collect();
    let refused = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => {
            let report = ingest::decode(&body.to_bytes());
            let taken = report.and_then(|report| {
                let mut steer = shared.steer();
                let now = steer.now();
                steer.report(report, now)
            });
            match taken {
                Ok(membership) => return of_json(StatusCode::OK, membership),
                Err(refused) => refused,
            }
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => ingest::too_large(),
        Ok(Err(error)) => scaler::Refused::new("malformed", format!("the body ended early: {error}")),
        Err(_) => scaler::Refused::new("malformed", format!("the body took longer than {PATIENCE:?}")),
    };
    ingest::refuse(&refused);
    fail(ingest::status(&refused), refused.reason, &refused.detail)
}

fn pools(shared: &Shared) -> Answer {
    let mut steer = shared.steer();
    let now = steer.now();
    let mut pools = serde_json::Map::new();
    for name in steer.pools() {
        if let Some(view) = steer.pool(&name, now) {
            let actuator = steer.actuator(&name);
            pools.insert(name, summary(&view, actuator));
        }
    }
    let body = json!({
        "region": steer.region_name(),
        "at": format!("{:.3}", steer.shows(now)),
        "epoch": steer.epoch(),
        "role": steer.role(),
        "token": steer.token(),
        "pools": pools,
    });
    json(StatusCode::OK, &body)
}

fn summary(view: &PoolView, actuator: &str) -> Value {
    json!({
        "actuator": actuator,
        "mode": view.mode,
        "desired": view.desired,
        "advised": view.advised,
        "scored": view.scored,
        "budget": view.budget,
        "late": view.decision.as_ref().and_then(|decision| decision.late.as_ref()),
        "trouble": view.decision.as_ref().and_then(|decision| decision.trouble.as_ref()),
        "floor": view.floor,
        "ceiling": view.ceiling,
        "capacity": view.capacity,
        "requests_per_second": view.inputs.requests_per_second,
        "rejects_per_second": view.inputs.rejects_per_second,
        "in_flight": view.inputs.in_flight,
        "demand": view.demand,
        "carries": view.carries,
        "replaced": view.replaced,
        "warm_pool": view.warm_pool,
        "foreign": view.foreign,
        "hold": view.operator,
        "origin_seconds": view.origin_seconds,
        "warm_seconds": view.warm_seconds,
        "lead": view.lead,
        "line": view.decision.as_ref().map(|decision| &decision.line),
        "origins": view.origins,
        "gone": view.gone,
    })
}

fn unknown_pool(name: &str, known: &[String]) -> Answer {
    let detail = format!("pool `{name}`; run here are: {}", known.join(", "));
    fail(StatusCode::NOT_FOUND, "pool", &detail)
}

fn fail(status: StatusCode, reason: &str, detail: &str) -> Answer {
    json(status, &json!({ "error": { "reason": reason, "detail": detail } }))
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    // Maps with string keys and finite numbers: nothing here that JSON cannot hold.
    let mut bytes = serde_json::to_vec(body).expect("these bodies are JSON");
    bytes.push(b'\n');
    of_json(status, Bytes::from(bytes))
}

fn of_json(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

fn text(body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
