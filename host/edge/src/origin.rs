//! The way to an origin: pick one, connect, send, retry what may be.
//!
//! - this file: [`send`], the attempts, and where each of them goes
//! - [`balance`]: which origin
//! - [`pool`]: this worker's idle connections
//! - [`dial`]: a connection
//! - [`client`]: one exchange over it
//! - [`wire`]: its bytes
//! - [`health`], [`warm`]: of the control thread

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use abi::Picked;
use http::{HeaderValue, Request, Response, Uri, header};

pub mod balance;
pub mod client;
pub mod dial;
pub mod health;
pub mod pool;
pub mod warm;
pub mod wire;

pub use pool::Origins;

use crate::body::{Body, Hold};
use crate::exchange::origin::Choice;
use crate::membership::{Member, PoolMembers};
use crate::reject::Reject;
use crate::serve::interim::InterimSink;
use crate::snapshot::Snapshot;
use crate::telemetry::PoolExchange;
use crate::worker::Worker;
use client::{Failure, Link, OriginBody, Terms, is_safe};
use pool::Home;

/// In the extensions of a response of [`send`]: who answered.
#[derive(Clone, Debug)]
pub struct Answerer {
    pub address: SocketAddr,
}

/// What plugins say about where one request goes.
pub struct Steer<'a> {
    pub choice: &'a Choice,
    /// Asks them before each attempt, which counts from 1.
    pub ask: &'a dyn Fn(u32) -> Result<(), Reject>,
}

/// Sends a request to an origin of `pool`: balancing, timeouts, one retry on another origin if
/// the method is safe and nothing came back. Hop-by-hop headers are gone already. Counts the
/// request in the pool's telemetry. The response body drives its own connection.
///
/// A 101 answer has [`Body::Tunnel`] as its body. An [`InterimSink`] in the request's extensions
/// gets the origin's interim answers.
pub async fn send(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    pool: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, Reject> {
    let interim = request.extensions_mut().remove::<InterimSink>();
    let (mut response, address) = attempts(worker, snapshot, pool, request, interim.as_ref()).await?;
    response.extensions_mut().insert(Answerer { address });
    Ok(response)
}

/// The same, where plugins choose pool and origin.
pub async fn send_steered(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    steer: &Steer<'_>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Reject> {
    let interim = request.extensions_mut().remove::<InterimSink>();
    (steer.ask)(1)?;
    let pool = steer.choice.pool().unwrap_or_default();
    let course = Course::to(worker, snapshot, &pool)?;
    let (mut response, address) = run(worker, snapshot, course, Some(steer), request, interim.as_ref()).await?;
    response.extensions_mut().insert(Answerer { address });
    Ok(response)
}

/// Without plugins, and without the cost of extensions.
pub(crate) async fn attempts(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    pool: &str,
    request: Request<Body>,
    interim: Option<&InterimSink>,
) -> Result<(Response<Body>, SocketAddr), Reject> {
    run(worker, snapshot, Course::to(worker, snapshot, pool)?, None, request, interim).await
}

/// The pool that a request goes to now.
struct Course<'a> {
    members: &'a Arc<PoolMembers>,
    spec: &'a Arc<config::Pool>,
    exchange: PoolExchange,
}

impl<'a> Course<'a> {
    fn to(worker: &Worker, snapshot: &'a Snapshot, pool: &str) -> Result<Course<'a>, Reject> {
        let (Some(members), Some(spec)) = (snapshot.members.get(pool), snapshot.pools.get(pool)) else {
            return Err(Reject::NoOrigin { pool: pool.into(), detail: String::new() });
        };
        Ok(Course { members, spec, exchange: worker.telemetry.pool_started(members) })
    }

    fn pick(&mut self, worker: &Worker, steer: Option<&Steer<'_>>, failed: Option<SocketAddr>) -> Option<SocketAddr> {
        let rotation = worker.origins.rotation(&self.members.name);
        let view = self.members.view();
        let (balance, now) = (self.spec.balance, crate::clock::now());
        let may =
            |member: &Member| Some(member.address) != failed && steer.is_none_or(|steer| steer.choice.allows(member));
        let member = rotation.borrow_mut().pick(balance, &view, worker.id, now, may)?;
        self.exchange.to(&member);
        Some(member.address)
    }

    /// Nobody could be picked.
    fn nobody(self, steer: Option<&Steer<'_>>, failed: Option<Reject>) -> Reject {
        let reject = match failed {
            // Where there was only the one that failed, its failure says more.
            Some(Reject::OriginUnreachable { pool, detail }) if pool == self.members.name => {
                Reject::OriginUnreachable { pool, detail }
            }
            _ => {
                let detail = steer.map(|steer| steer.choice.why_none(&self.members.view())).unwrap_or_default();
                Reject::NoOrigin { pool: self.members.name.clone(), detail }
            }
        };
        self.exchange.rejected(&reject);
        reject
    }

    /// Plugins are asked again after an attempt that has `failed`; they may go to another pool.
    fn again(
        self,
        worker: &Worker,
        snapshot: &'a Snapshot,
        steer: &Steer<'_>,
        failed: &Reject,
        attempt: u32,
    ) -> Result<Course<'a>, Reject> {
        let asked = (steer.ask)(attempt);
        let pool = steer.choice.pool().unwrap_or_default();
        if asked.is_ok() && pool == self.members.name {
            return Ok(self);
        }
        self.exchange.rejected(failed);
        asked?;
        Course::to(worker, snapshot, &pool)
    }
}

async fn run<'a>(
    worker: &Rc<Worker>,
    snapshot: &'a Snapshot,
    mut course: Course<'a>,
    steer: Option<&Steer<'_>>,
    mut request: Request<Body>,
    interim: Option<&InterimSink>,
) -> Result<(Response<Body>, SocketAddr), Reject> {
    let hold = hold(&mut request);
    let mut failed: Option<(SocketAddr, Reject)> = None;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let except = failed.as_ref().map(|(address, _)| *address);
        let Some(address) = course.pick(worker, steer, except) else {
            return Err(course.nobody(steer, failed.map(|(_, reject)| reject)));
        };
        if let Some(steer) = steer {
            steer.choice.pick(Picked { address, pool: course.members.name.clone(), attempt });
        }
        let terms = Terms { pool: &course.members.name, spec: course.spec, hold: hold.as_ref(), interim };
        prepare(&mut request, course.spec.http2);
        let home = worker.origins.home(address);
        let failure = match self::attempt(&home, request, &terms).await {
            Ok((response, link)) => {
                course.exchange.answered(response.status().as_u16());
                let response = OriginBody::attach(response, link, home, &terms, course.exchange)?;
                return Ok((response, address));
            }
            Err(failure) => failure,
        };
        match failure {
            Failure { reject: reject @ Reject::OriginUnreachable { .. }, again: Some(again), .. }
                if failed.is_none() && is_safe(again.method()) =>
            {
                let pool = &*course.members.name;
                tracing::debug!(pool, %address, reason = %reject, "attempt failed; another origin is tried");
                request = again;
                if let Some(steer) = steer {
                    course = course.again(worker, snapshot, steer, &reject, attempt + 1)?;
                }
                failed = Some((address, reject));
            }
            Failure { reject, .. } => {
                course.exchange.rejected(&reject);
                return Err(reject);
            }
        }
    }
}

/// One origin. A reused connection that turns out stale does not count as a failure of the
/// origin: the request goes over a fresh one.
async fn attempt(
    home: &Rc<Home>,
    mut request: Request<Body>,
    terms: &Terms<'_>,
) -> Result<(Response<hyper::body::Incoming>, Option<Box<Link>>), Failure> {
    if terms.spec.http2 {
        return client::exchange_http2(home, request, terms).await.map(|response| (response, None));
    }
    while let Some(mut link) = home.take() {
        if !link.alive() {
            continue;
        }
        match link.exchange(request, terms).await {
            Ok(response) => return Ok((response, Some(link))),
            Err(Failure { again: Some(again), unsent, .. }) if unsent || is_safe(again.method()) => request = again,
            Err(failure) => return Err(failure),
        }
        break;
    }
    match Link::open(home, terms).await {
        Ok(mut link) => link.exchange(request, terms).await.map(|response| (response, Some(link))),
        Err(reject) => Err(Failure { reject, again: Some(request), unsent: true }),
    }
}

/// A client that asks before it sends its body gets the origin's answer to that, not ours.
fn hold(request: &mut Request<Body>) -> Option<Rc<Hold>> {
    let expects = request.headers().get(header::EXPECT)?.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match request.body_mut() {
        Body::Client(body) if expects => Some(body.hold()),
        // Someone reads it on the way, so the client was told to send it already.
        _ => {
            request.headers_mut().remove(header::EXPECT);
            None
        }
    }
}

/// The target as the origin's protocol wants it.
fn prepare(request: &mut Request<Body>, http2: bool) {
    if http2 {
        let host = request.headers_mut().remove(header::HOST);
        let path = request.uri().path_and_query().cloned();
        let authority = host.as_ref().and_then(|host| host.to_str().ok());
        let authority = authority.or(request.uri().authority().map(|authority| authority.as_str()));
        let uri = Uri::builder().scheme("http").authority(authority.unwrap_or("localhost"));
        if let Ok(uri) = uri.path_and_query(path.map_or("/".into(), |path| path.as_str().to_string())).build() {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = http::Version::HTTP_2;
        return;
    }
    *request.version_mut() = http::Version::HTTP_11;
    if let Some(authority) = request.uri().authority() {
        if !request.headers().contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}
