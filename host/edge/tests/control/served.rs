//! A small HTTP server on a port of the system that remembers what it was asked.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tokio::task::LocalSet;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub http2: bool,
    /// Counts connections from 1.
    pub connection: usize,
}

/// Status and body; `None` closes the connection without an answer.
pub type Answer = Option<(u16, String)>;
type Answering = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// Serves until it is dropped; the port is closed then.
pub struct Served {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Served {
        Served::with(TcpListener::bind("127.0.0.1:0").unwrap(), false, Arc::new(answer))
    }

    pub fn start_http2(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Served {
        Served::with(TcpListener::bind("127.0.0.1:0").unwrap(), true, Arc::new(answer))
    }

    /// On the address of one that was dropped.
    pub fn start_at(address: SocketAddr, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Served {
        Served::with(TcpListener::bind(address).unwrap(), false, Arc::new(answer))
    }

    fn with(listener: TcpListener, http2: bool, answer: Answering) -> Served {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, mut stopped) = watch::channel(false);
        let remember = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    () = accept(listener, http2, answer, remember) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        });
        Served { address, seen, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn accept(listener: TcpListener, http2: bool, answer: Answering, seen: Arc<Mutex<Vec<Seen>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connection = 0;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connection += 1;
        let (answer, seen) = (answer.clone(), seen.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let one = Seen {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    headers: head.headers,
                    body,
                    http2: head.version == http::Version::HTTP_2,
                    connection,
                };
                seen.lock().unwrap().push(one.clone());
                let Some((status, body)) = answer(&one) else { return Err("no answer") };
                Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
            }
        });
        tokio::task::spawn_local(async move {
            let stream = TokioIo::new(stream);
            // A peer that goes away is what some tests are about.
            if http2 {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
                    .await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
            }
        });
    }
}
