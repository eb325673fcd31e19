//! `forebay origin`: a real HTTP origin whose limits are known, for the quickstart, tests and
//! demonstrations. It refuses connections while it boots, is slow while it is cold, takes a
//! fixed service time for each request, and sheds what is past its capacity.
//!
//! - [`lanes`]: the capacity, as arithmetic
//! - `/ready`: 200 once it listens; `/counts`: what it did, as JSON; `/metrics`: the same as a Prometheus text;
//!   any other path is work

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::span;

mod lanes;

use lanes::{Lanes, Verdict};

/// What runs when nobody said otherwise: small, so that a handful of them is a pool that one
/// laptop can overload.
#[derive(Clone, Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one and prints it
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Connections are refused for this long after the start
    #[arg(long, default_value = "2s", value_parser = span::parse)]
    pub boot: Duration,
    /// Time that one request takes
    #[arg(long, default_value = "40ms", value_parser = span::parse)]
    pub service: Duration,
    /// Requests a second that it carries; past them (and a short queue) it answers 503
    #[arg(long, default_value_t = 20.0, value_parser = capacity)]
    pub capacity: f64,
    /// Requests that may wait; a quarter of a second's worth if not given
    #[arg(long)]
    pub queue: Option<usize>,
    /// The first so many requests are slow: code not compiled yet, caches empty
    #[arg(long, default_value_t = 0)]
    pub cold_requests: u64,
    /// How many times slower
    #[arg(long, default_value_t = 5.0)]
    pub cold_factor: f64,
    /// Requests to this path are counted as warm-up; they are work like any other
    #[arg(long, default_value = "/warmup")]
    pub warmup_path: String,
    /// File that gets the counts at the end; `{port}` and `{pid}` in it become the origin's
    #[arg(long)]
    pub counts: Option<PathBuf>,
    /// End when the process that started this one is gone
    #[arg(long)]
    pub with_parent: bool,
}

/// What it did. `served`, `shed` and `warmup` count requests that were answered: with the work
/// done, refused over capacity, and as warm-up (in none of the others).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub port: u16,
    pub served: u64,
    pub shed: u64,
    pub warmup: u64,
    /// Of `served` and `warmup`: the slow ones at the beginning.
    pub cold: u64,
    /// Admitted and not answered yet.
    pub in_flight: u64,
}

struct Origin {
    address: SocketAddr,
    warmup_path: String,
    lanes: RefCell<Lanes>,
    /// What the requests that were served took of its lanes.
    busy: Cell<Duration>,
    service: Duration,
    cold_factor: f64,
    counts: RefCell<Counts>,
}

fn capacity(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("requests a second, above 0".into()),
    }
}

/// Serves until SIGTERM or SIGINT, finishes what is in flight, writes the counts.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let mut end = End::listen(options.with_parent)?;

    // Bound at once and listening only after the boot: the port cannot be lost meanwhile, and
    // connections are refused as they are where nothing runs yet.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, options.port).into()).with_context(|| format!("port {}", options.port))?;
    let address = socket.local_addr()?;
    println!("origin {address} boots for {:?}", options.boot);
    tokio::select! {
        _ = tokio::time::sleep(options.boot) => {}
        _ = end.asked() => return Ok(()),
    }
    let listener = socket.listen(1024)?;

    let origin = Rc::new(Origin {
        address,
        warmup_path: options.warmup_path.clone(),
        lanes: RefCell::new(Lanes::new(&options, Instant::now())),
        busy: Cell::default(),
        service: options.service,
        cold_factor: options.cold_factor.max(1.0),
        counts: RefCell::new(Counts { port: address.port(), ..Counts::default() }),
    });
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error here is a full table of files: those who wait keep waiting.
                let Ok((stream, _)) = accepted else { tokio::time::sleep(Duration::from_millis(10)).await; continue };
                connections.spawn_local(connection(origin.clone(), stream, stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = end.asked() => break,
        }
    }
    drop(listener);
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
    match &options.counts {
        Some(path) => write_counts(path, &origin.counts.borrow()),
        None => Ok(()),
    }
}

/// What ends an origin.
struct End {
    terminate: Signal,
    interrupt: Signal,
    /// Whose child it is to stay.
    parent: Option<u32>,
}

impl End {
    fn listen(with_parent: bool) -> std::io::Result<End> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(End { terminate, interrupt, parent: with_parent.then(parent_id) })
    }

    async fn asked(&mut self) {
        let orphaned = async {
            // A parent that was killed tells nobody; the kernel gives its children away.
            while self.parent.is_none_or(|parent| parent_id() == parent) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = orphaned => {}
        }
    }
}

fn write_counts(path: &std::path::Path, counts: &Counts) -> anyhow::Result<()> {
    let path = path.to_string_lossy().replace("{port}", &counts.port.to_string());
    let path = PathBuf::from(path.replace("{pid}", &std::process::id().to_string()));
    // Renamed into place, so that a reader never sees half of it.
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(counts)?).with_context(|| partial.display().to_string())?;
    std::fs::rename(&partial, &path).with_context(|| path.display().to_string())
}

async fn connection(origin: Rc<Origin>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let http2 = tokio::select! {
        http2 = speaks_http2(&stream) => http2,
        _ = stopped.wait_for(|&stopped| stopped) => return,
    };
    let service = service_fn(|request| answer(origin.clone(), request));
    let io = TokioIo::new(stream);
    // A client that breaks off is its own business.
    if http2 {
        let connection = hyper::server::conn::http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|&stopped| stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let connection =
            hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|&stopped| stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Whether the first bytes are the preface of HTTP/2, which no HTTP/1 request can begin with.
async fn speaks_http2(stream: &TcpStream) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    let mut seen = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut seen).await {
            Ok(0) | Err(_) => return false,
            Ok(n) if seen[..n] != PREFACE[..n] => return false,
            Ok(n) if n == PREFACE.len() => return true,
            // The preface in pieces: peeking again would return at once with the same bytes.
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// HTTP/2 streams of a connection run on the thread of their connection.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(stream);
    }
}

async fn answer(origin: Rc<Origin>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let line = format!("{} {}", request.method(), request.uri().path());
    match request.uri().path() {
        "/ready" => return Ok(text(&origin, StatusCode::OK, "ready\n".into())),
        "/counts" => {
            let counts = serde_json::to_string(&*origin.counts.borrow()).expect("counts are plain numbers");
            let mut response = text(&origin, StatusCode::OK, counts);
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            return Ok(response);
        }
        "/metrics" => return Ok(text(&origin, StatusCode::OK, origin.metrics())),
        _ => {}
    }
    let warmup = request.uri().path() == origin.warmup_path;
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }

    let verdict = origin.lanes.borrow_mut().admit(Instant::now());
    let Verdict::Admitted { done, cold } = verdict else {
        origin.counts.borrow_mut().shed += 1;
        let mut response = text(&origin, StatusCode::SERVICE_UNAVAILABLE, "over capacity\n".into());
        response.headers_mut().insert("x-origin-shed", HeaderValue::from_static("1"));
        return Ok(response);
    };
    let _in_flight = InFlight::begin(&origin);
    tokio::time::sleep_until(done.into()).await;
    {
        let mut counts = origin.counts.borrow_mut();
        *if warmup { &mut counts.warmup } else { &mut counts.served } += 1;
        counts.cold += u64::from(cold);
        let factor = if cold { origin.cold_factor } else { 1.0 };
        origin.busy.set(origin.busy.get() + origin.service.mul_f64(factor));
    }
    Ok(text(&origin, StatusCode::OK, format!("origin {} answered {line}\n", origin.address)))
}

impl Origin {
    fn metrics(&self) -> String {
        let Counts { served, shed, in_flight, .. } = *self.counts.borrow();
        let busy = self.busy.get().as_secs_f64();
        format!(
            "# HELP forebay_origin_busy_seconds_total Time that requests took, over all lanes\n\
             # TYPE forebay_origin_busy_seconds_total counter\nforebay_origin_busy_seconds_total {busy}\n\
             # HELP forebay_origin_requests_total Requests by what became of them, warm-up left out\n\
             # TYPE forebay_origin_requests_total counter\nforebay_origin_requests_total{{result=\"served\"}} {served}\n\
             forebay_origin_requests_total{{result=\"shed\"}} {shed}\n\
             # HELP forebay_origin_in_flight Requests that are worked on\n\
             # TYPE forebay_origin_in_flight gauge\nforebay_origin_in_flight {in_flight}\n"
        )
    }
}

/// Counts down also when the client leaves and the answer is dropped half way.
struct InFlight<'a>(&'a Origin);

impl<'a> InFlight<'a> {
    fn begin(origin: &'a Origin) -> InFlight<'a> {
        origin.counts.borrow_mut().in_flight += 1;
        InFlight(origin)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.counts.borrow_mut().in_flight -= 1;
    }
}

fn text(origin: &Origin, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("x-origin", HeaderValue::from(origin.address.port()));
    response
}
