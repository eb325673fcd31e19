//! The load: real HTTP to the edge, in an open loop. Requests leave when the plan says so,
//! whatever the answers do; a latency counts from the planned instant, so that an edge that
//! stalls cannot hide it by being asked less.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};

use super::scenario::{Arrival, Target};

/// Every so many requests go over one shared HTTP/2 connection, the others over HTTP/1.1.
const HTTP1_PER_HTTP2: usize = 4;
/// A request without an answer by then has none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the load saw so far.
#[derive(Clone)]
pub struct Tally {
    /// Requests that left.
    pub sent: u64,
    /// Of those, the ones for the pool.
    pub sent_to_shop: u64,
    pub by_status: BTreeMap<u16, u64>,
    /// Answered by an origin, with the work done, and of the pool.
    pub served: u64,
    /// 503 of an origin over its capacity.
    pub shed: u64,
    /// 5xx of the edge itself: no origin could take it, a plugin failed.
    pub refused: u64,
    /// The connection broke, or no answer came in time.
    pub unanswered: u64,
    /// What broke, the first time.
    pub first_failure: Option<String>,
    /// Microseconds from the planned instant to the end of the answer, of answers under 500.
    pub latency: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Tally {
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order");
        Tally {
            sent: 0,
            sent_to_shop: 0,
            by_status: BTreeMap::new(),
            served: 0,
            shed: 0,
            refused: 0,
            unanswered: 0,
            first_failure: None,
            latency,
        }
    }

    pub fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    pub fn rejects(&self) -> u64 {
        self.shed + self.refused
    }

    /// Milliseconds; 0 while nothing was answered.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        if self.latency.is_empty() { 0.0 } else { self.latency.value_at_quantile(quantile) as f64 / 1e3 }
    }

    fn record(&mut self, arrival: &Arrival, outcome: Result<Answer, String>, took: Duration) {
        match outcome {
            Ok(answer) => {
                *self.by_status.entry(answer.status.as_u16()).or_default() += 1;
                if answer.shed {
                    self.shed += 1;
                } else if answer.status.is_server_error() {
                    self.refused += 1;
                } else {
                    self.latency.saturating_record(took.as_micros() as u64);
                    self.served += u64::from(arrival.target == Target::Shop);
                }
            }
            Err(failure) => {
                self.unanswered += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }
}

struct Answer {
    status: StatusCode,
    shed: bool,
}

/// The thread that sends. It ends by itself after the last answer.
pub struct Driver {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Driver {
    pub fn start(target: SocketAddr, plan: Vec<Arrival>, begin: Instant) -> std::io::Result<Driver> {
        let tally = Arc::new(Mutex::new(Tally::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shared, stopped) = (tally.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, send_all(target, plan, begin, shared, stopped));
        })?;
        Ok(Driver { tally, stop, thread })
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().expect("nobody panics with the tally").clone()
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends nothing more; what is under way is still answered and counted.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn send_all(
    target: SocketAddr,
    plan: Vec<Arrival>,
    begin: Instant,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
) {
    let connections = Rc::new(Connections { target, idle: RefCell::default(), http2: RefCell::default() });
    let mut under_way = JoinSet::new();
    for (i, arrival) in plan.into_iter().enumerate() {
        let planned = begin + arrival.at;
        tokio::time::sleep_until(planned.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        {
            let mut tally = tally.lock().expect("nobody panics with the tally");
            tally.sent += 1;
            tally.sent_to_shop += u64::from(arrival.target == Target::Shop);
        }
        let (connections, tally) = (connections.clone(), tally.clone());
        under_way.spawn_local(async move {
            let exchange = connections.exchange(&arrival, i);
            let outcome = match tokio::time::timeout(PATIENCE, exchange).await {
                Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
            };
            let mut tally = tally.lock().expect("nobody panics with the tally");
            tally.record(&arrival, outcome, planned.elapsed());
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// The connections of the load: kept alive, opened when none is idle.
struct Connections {
    target: SocketAddr,
    idle: RefCell<Vec<http1::SendRequest<Empty<Bytes>>>>,
    http2: RefCell<Option<http2::SendRequest<Empty<Bytes>>>>,
}

impl Connections {
    async fn exchange(&self, arrival: &Arrival, number: usize) -> anyhow::Result<Answer> {
        let path = match arrival.target {
            Target::Shop => format!("/shop/item/{}", number % 97),
            Target::Hello => "/hello".into(),
        };
        if number.is_multiple_of(HTTP1_PER_HTTP2 + 1) {
            self.over_http2(&path).await
        } else {
            self.over_http1(&path).await
        }
    }

    async fn over_http1(&self, path: &str) -> anyhow::Result<Answer> {
        loop {
            let kept = self.idle.borrow_mut().pop();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect_http1().await?,
            };
            let outcome = match connection.ready().await {
                Ok(()) => connection.send_request(self.request(path)?).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(response) => {
                    let answer = read(response).await?;
                    self.idle.borrow_mut().push(connection);
                    return Ok(answer);
                }
                // The edge closed an idle connection while the request was on its way: any
                // client opens another.
                Err(_) if !fresh => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn connect_http1(&self) -> anyhow::Result<http1::SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let (connection, driven) = http1::handshake(TokioIo::new(stream)).await?;
        spawn_local(driven);
        Ok(connection)
    }

    async fn over_http2(&self, path: &str) -> anyhow::Result<Answer> {
        let kept = self.http2.borrow().clone().filter(|connection| !connection.is_closed());
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.target).await?;
                stream.set_nodelay(true)?;
                let (connection, driven) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                spawn_local(driven);
                self.http2.borrow_mut().insert(connection).clone()
            }
        };
        connection.ready().await?;
        read(connection.send_request(self.request(path)?).await?).await
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
        let uri = format!("http://{}{path}", self.target);
        Request::get(uri).header("host", self.target.to_string()).body(Empty::new())
    }
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let status = response.status();
    let shed = response.headers().contains_key("x-origin-shed");
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Answer { status, shed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin;
    use crate::quickstart::ports::{Choice, Ports};

    /// A real origin in a thread of this test; it stays until the test's process ends.
    fn origin(capacity: f64, service: Duration) -> SocketAddr {
        let address = Ports::choose(Choice::Auto).unwrap().edge();
        let options = origin::Options {
            port: address.port(),
            boot: Duration::ZERO,
            service,
            capacity,
            queue: Some(0),
            cold_requests: 0,
            cold_factor: 1.0,
            warmup_path: "/warmup".into(),
            counts: None,
            with_parent: false,
        };
        std::thread::spawn(move || origin::run(options).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the origin does not listen");
            std::thread::yield_now();
        }
        address
    }

    fn drive(address: SocketAddr, requests: u64, every: Duration) -> Tally {
        let plan = (0..requests).map(|i| Arrival { at: every * i as u32, target: Target::Shop }).collect();
        let driver = Driver::start(address, plan, Instant::now()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !driver.is_finished() {
            assert!(Instant::now() < deadline, "the load does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        driver.tally()
    }

    #[test]
    fn slow_answers_do_not_slow_the_load() {
        // One after the other these would take 12 seconds, and latency would show none of it.
        let began = Instant::now();
        let tally = drive(origin(1000.0, Duration::from_millis(300)), 40, Duration::from_millis(10));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((tally.served, tally.rejects(), tally.unanswered), (40, 0, 0), "{:?}", tally.first_failure);
        assert!(tally.latency_ms(0.5) >= 300.0);
    }

    #[test]
    fn what_an_origin_sheds_is_a_reject_and_has_no_latency() {
        let tally = drive(origin(5.0, Duration::from_millis(200)), 20, Duration::from_millis(1));
        assert_eq!(tally.served + tally.shed, 20, "{:?}", tally.first_failure);
        assert_eq!((tally.served, tally.refused, tally.unanswered), (1, 0, 0));
        assert_eq!(tally.by_status, BTreeMap::from([(200, 1), (503, 19)]));
        assert_eq!(tally.latency.len(), 1);
    }

    #[test]
    fn nobody_there_is_no_answer_and_not_a_reject() {
        let tally = drive(Ports::choose(Choice::Auto).unwrap().edge(), 5, Duration::from_millis(1));
        assert_eq!((tally.unanswered, tally.rejects(), tally.answered()), (5, 0, 0));
        assert!(tally.first_failure.is_some());
    }
}
