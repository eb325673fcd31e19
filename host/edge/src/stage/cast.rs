//! Who plays the origins and the targets of callouts: an HTTP server for each connection, at the
//! other end of a pipe; of HTTP/2 where the pool speaks that, as gRPC does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use config::spec::{Callout, Failure, Response as Script};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::task::spawn_local;

use super::Finding;
use super::grpc;
use super::pieces::{self, Pieces, Whole};
use super::verdict;
use crate::worker::LocalExecutor;

/// Bytes on their way in one direction before the sender waits.
pub const PIPE: usize = 64 << 10;

/// The pool that the stage's route leads to.
pub const ORIGIN: &str = "origin";

pub struct Cast {
    /// Which pool listens where.
    pools: HashMap<SocketAddr, Player>,
    origin: RefCell<Script>,
    callouts: RefCell<Vec<Expected>>,
    /// What origins got in this step.
    pub received: RefCell<Vec<Received>>,
    /// Callouts that nobody expected.
    pub findings: RefCell<Vec<Finding>>,
    /// Callouts that came, of the whole case.
    pub asked: Cell<u64>,
}

/// A pool that is played.
#[derive(Clone)]
pub struct Player {
    pub pool: String,
    pub http2: bool,
}

struct Expected {
    callout: Callout,
    left: u32,
}

/// A request at the far end.
#[derive(Clone, Debug)]
pub struct Received {
    pub pool: String,
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Whole,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("unavailable")]
struct Unavailable;

impl Cast {
    pub fn new(pools: HashMap<SocketAddr, Player>) -> Rc<Cast> {
        Rc::new(Cast {
            pools,
            origin: RefCell::default(),
            callouts: RefCell::default(),
            received: RefCell::default(),
            findings: RefCell::default(),
            asked: Cell::default(),
        })
    }

    /// What is played from now on.
    pub fn rehearse(&self, origin: &Script, callouts: &[Callout]) {
        *self.origin.borrow_mut() = origin.clone();
        let expected = |callout: &Callout| Expected { callout: callout.clone(), left: callout.times };
        *self.callouts.borrow_mut() = callouts.iter().map(expected).collect();
        self.received.borrow_mut().clear();
    }

    /// Callouts that must still come.
    pub fn waits(&self) -> bool {
        self.callouts.borrow().iter().any(|expected| expected.left > 0 && !expected.callout.optional)
    }

    /// What was expected to be asked and was not, and what was asked and not expected.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.take();
        for Expected { callout, left } in self.callouts.take() {
            if left > 0 && !callout.optional {
                let what = format!("callout to {} (line {})", callout.target, callout.line);
                let times = |n: u32| if n == 1 { "once".to_owned() } else { format!("{n} times") };
                let found = if left == callout.times { "never".to_owned() } else { times(callout.times - left) };
                findings.push(Finding::new(what, format!("asked {}", times(callout.times)), found));
            }
        }
        findings
    }

    /// One end of a pipe, at whose other end `address` is played.
    pub fn connect(self: &Rc<Cast>, address: SocketAddr) -> io::Result<DuplexStream> {
        let Some(Player { pool, http2 }) = self.pools.get(&address).cloned() else {
            let text = format!("nobody plays {address} on this stage");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        };
        let (near, far) = tokio::io::duplex(PIPE);
        let cast = self.clone();
        spawn_local(async move {
            let service = service_fn(move |request| {
                let (cast, pool) = (cast.clone(), pool.clone());
                async move { cast.answer(&pool, request).await }
            });
            // An error is the end that the case asked for, or that the edge made.
            let far = TokioIo::new(far);
            let _ = match http2 {
                true => http2::Builder::new(LocalExecutor).serve_connection(far, service).await,
                false => http1::Builder::new().keep_alive(false).serve_connection(far, service).await,
            };
        });
        Ok(near)
    }

    async fn answer(self: Rc<Cast>, pool: &str, request: Request<Incoming>) -> Result<Response<Pieces>, Unavailable> {
        let (mut parts, body) = request.into_parts();
        // Which HTTP/2 has elsewhere.
        if let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            parts.headers.entry(header::HOST).or_insert(host);
        }
        let received = Received {
            pool: pool.to_owned(),
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: parts.headers,
            body: pieces::read(body).await,
        };
        let (script, grpc) = match self.callout(pool, &received) {
            Some(callout) => (callout.response, callout.grpc),
            // Only what passes through the edge carries its mark.
            None if received.headers.contains_key(header::VIA) => {
                let script = self.origin.borrow().clone();
                self.received.borrow_mut().push(received);
                (script, None)
            }
            None => {
                self.refuse(pool, &received);
                return Err(Unavailable);
            }
        };
        crate::clock::sleep(script.delay).await;
        match script.error {
            Some(Failure::Timeout) => std::future::pending().await,
            Some(Failure::Unavailable) => Err(Unavailable),
            None => Ok(grpc.map_or_else(|| response(&script), |grpc| grpc::response(&grpc.answer))),
        }
    }

    /// The first callout that is still expected and is this one.
    fn callout(&self, pool: &str, received: &Received) -> Option<Callout> {
        let mut callouts = self.callouts.borrow_mut();
        let fits = |expected: &&mut Expected| {
            let callout = &expected.callout;
            expected.left > 0 && callout.target == pool && asked("", callout, received).is_empty()
        };
        let expected = callouts.iter_mut().find(fits)?;
        expected.left -= 1;
        self.asked.set(self.asked.get() + 1);
        Some(expected.callout.clone())
    }

    fn refuse(&self, pool: &str, received: &Received) {
        let found = format!("{} {}", received.method, received.path);
        let what = format!("callout to {pool}");
        let callouts = self.callouts.borrow();
        let near = callouts.iter().find(|expected| expected.left > 0 && expected.callout.target == pool);
        let mut findings = self.findings.borrow_mut();
        match near {
            Some(near) => {
                let what = format!("{what} (line {})", near.callout.line);
                findings.extend(asked(&format!("{what}: "), &near.callout, received));
            }
            None => findings.push(Finding::new(what, "not asked, or no more", found)),
        }
    }
}

/// What differs from what must be asked.
fn asked(at: &str, callout: &Callout, received: &Received) -> Vec<Finding> {
    match &callout.grpc {
        Some(grpc) => grpc::asked(at, grpc, received),
        None => verdict::asked(at, &callout.request, received),
    }
}

fn response(script: &Script) -> Response<Pieces> {
    let mut response = Response::new(Pieces::new(&script.body, &script.trailers));
    *response.status_mut() = StatusCode::from_u16(script.status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = pieces::map(&script.headers);
    announce(response.headers_mut(), &script.trailers);
    response
}

/// HTTP/1.1 sends the trailers that a header names.
pub fn announce(headers: &mut HeaderMap, trailers: &[(String, String)]) {
    for (name, _) in trailers {
        if let Ok(name) = name.parse() {
            headers.append(header::TRAILER, name);
        }
    }
}
