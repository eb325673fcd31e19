//! One case: the worker's thread, and the client.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, UNIX_EPOCH};

use abi::{KvAsk, Plugin};
use config::Region;
use config::spec::{self, Case, Step};
use http::{HeaderValue, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::{LocalSet, spawn_local};

use super::cast::{Cast, PIPE, Player, announce};
use super::measure::{Measured, Probe};
use super::pieces::{self, Pieces};
use super::policy::Policy;
use super::record::Record;
use super::series::Series;
use super::verdict::{self, Got};
use super::{Acted, End, Finding, Played, Role};
use crate::clock::{self, Simulated};
use crate::kv::Store;
use crate::kv::memory::Memory;
use crate::origin::dial::Dial;
use crate::plugins::{self, Plugins};
use crate::serve::{self, Connection};
use crate::stream::Stream;
use crate::worker::{Shared, Worker};

/// An exchange that has not ended by then never will: far past every limit that can be set.
const PATIENCE: Duration = Duration::from_secs(48 * 3600);
/// How long callouts may still come after an exchange.
const AFTERMATH: Duration = Duration::from_secs(30);

/// The stores of a region, each in memory, with what a case says that they hold.
fn furnish(worker: &Worker, region: &Region, case: &Case) {
    for name in region.kv.keys() {
        let store = Rc::new(Memory::default());
        for (key, value) in case.kv.iter().filter(|(held, _)| held == name).flat_map(|(_, held)| held) {
            let (key, value) = (key.clone().into_bytes(), value.clone().into_bytes());
            // A store in memory takes what it is given.
            let _ = store.ask(&KvAsk::Set { key, value, ttl: None });
        }
        worker.kv.put(name, Store::Memory(store));
    }
}

/// What all cases of a stage have in common.
pub struct Terms<'a> {
    pub role: &'a Role,
    pub code: Option<&'a Arc<dyn Plugin>>,
    pub end: Option<End>,
}

/// Plays a case; runs on a thread of its own, which is the worker's.
pub fn play(
    terms: &Terms<'_>,
    case: &Case,
    region: &Arc<Region>,
    previous: Option<Plugins>,
) -> (Played, Option<Plugins>) {
    let role = terms.role;
    let clock = Simulated::new(UNIX_EPOCH + case.time);
    let _installed = clock.install();
    fastrand::seed(1);
    let record = Record::default();
    let _recording = tracing::subscriber::set_default(record.clone());
    let _uncounted = metrics::set_default_local_recorder(&metrics::NoopRecorder);
    let load = |previous: Option<&Plugins>| match terms.code {
        Some(code) => plugins::load_by(region, previous, &|_| Ok(code.clone())),
        None => plugins::load(region, previous),
    };
    let plugins = match load(previous.as_ref()) {
        Ok(plugins) => plugins,
        Err(errors) => return (not_started(case, &record, &errors), previous),
    };
    let shared = match Shared::new(region, plugins, 1) {
        Ok(shared) => Arc::new(shared),
        Err(errors) => return (super::unfit(&errors), previous),
    };
    let scene = Scene { role, record: &record, several: case.steps.len() > 1 };
    let mut played = match run(scene.perform(case, region, &shared), terms.end.map(|end| end.at)) {
        Ok(Some(played)) => played,
        // What it loaded is let go with it.
        Ok(None) => return (super::given_up(terms.end, &record.take()), None),
        Err(error) => super::unfit(&[format!("no runtime for the stage: {error}")]),
    };
    played.took = clock::now().saturating_duration_since(clock.start());
    // The snapshot goes with the worker; what it loaded serves the next case.
    let plugins = load(Some(&shared.snapshot.load().plugins)).ok();
    (played, plugins)
}

/// Measures a case; runs on a thread of its own, which is the worker's.
pub fn bench(role: &Role, case: &Case, region: &Arc<Region>, warmup: u32, times: u32) -> Result<Measured, Vec<String>> {
    let clock = Simulated::new(UNIX_EPOCH + case.time);
    let _installed = clock.install();
    fastrand::seed(1);
    let record = Record::default();
    let _recording = tracing::subscriber::set_default(record.clone());
    let _uncounted = metrics::set_default_local_recorder(&metrics::NoopRecorder);
    let probe = Probe::default();
    let code = plugins::load(region, None)?.wrapped(|code| probe.around(code));
    let plugins = plugins::load(region, Some(&code))?;
    let shared = Arc::new(Shared::new(region, plugins, 1)?);
    let work = async {
        let cast = Cast::new(addresses(region));
        let dial = cast.clone();
        let worker = Rc::new(Worker::new(0, shared.clone(), Dial::Memory(Rc::new(move |at| dial.connect(at)))));
        furnish(&worker, region, case);
        worker.keep();
        clock::idle().await;
        let mut policy = Policy::new(&worker);
        for time in 0..warmup.saturating_add(times) {
            if time == warmup {
                probe.begin();
            }
            for step in &case.steps {
                cast.rehearse(&step.origin, &step.callouts);
                clock::sleep(step.after).await;
                if let Some(view) = &step.autoscale {
                    // What came of it does not matter here either.
                    let _ = policy.ask(&worker, &role.name, view, since_1970());
                }
                if let Some(request) = &step.request {
                    // What came of it does not matter here, only what it cost.
                    let _ = clock::timeout(PATIENCE, exchange(&worker, request, step)).await;
                }
                clock::idle().await;
            }
            record.take();
        }
        worker.origins.clear();
    };
    run(work, None).map_err(|error| vec![format!("no runtime for the stage: {error}")])?;
    Ok(probe.measured())
}

/// The plugin was refused, which may be what the case is about.
fn not_started(case: &Case, record: &Record, errors: &[String]) -> Played {
    let seen = record.take();
    let logs = seen.shown();
    if seen.faults.is_empty() {
        return Played { logs, ..super::unfit(errors) };
    }
    let expect = case.steps.first().map(|step| step.expect.clone()).unwrap_or_default();
    Played { findings: verdict::seen(&expect, &seen), logs, ..Played::default() }
}

/// What lasts from step to step.
struct Known {
    policy: Policy,
    counted: Series,
}

struct Scene<'a> {
    role: &'a Role,
    record: &'a Record,
    several: bool,
}

impl Scene<'_> {
    async fn perform(&self, case: &Case, region: &Arc<Region>, shared: &Arc<Shared>) -> Played {
        let cast = Cast::new(addresses(region));
        let dial = cast.clone();
        let worker = Rc::new(Worker::new(0, shared.clone(), Dial::Memory(Rc::new(move |at| dial.connect(at)))));
        let mut played = Played::default();
        for (dict, keys) in &case.dict {
            for (key, value) in keys {
                if let Err(refusal) = put(shared, dict, key, value) {
                    played.findings.push(Finding::new(format!("dict {dict}"), "holds what is given", refusal.message));
                }
            }
        }
        furnish(&worker, region, case);
        worker.keep();
        clock::idle().await;
        let mut known = Known { policy: Policy::new(&worker), counted: Series::default() };
        for (number, step) in case.steps.iter().enumerate() {
            let acted = self.step(&worker, &cast, step, &mut known, &mut played.logs).await;
            for finding in &acted.findings {
                let step = if self.several { format!("step {}: ", number + 1) } else { String::new() };
                played.findings.push(Finding { what: step + &finding.what, ..finding.clone() });
            }
            played.steps.push(acted);
        }
        worker.origins.clear();
        played
    }

    async fn step(
        &self,
        worker: &Rc<Worker>,
        cast: &Rc<Cast>,
        step: &Step,
        known: &mut Known,
        logs: &mut Vec<String>,
    ) -> Acted {
        let expect = &step.expect;
        cast.rehearse(&step.origin, &step.callouts);
        clock::sleep(step.after).await;
        let began = clock::now();
        let got = match &step.request {
            Some(request) => {
                let exchange = clock::timeout(PATIENCE, exchange(worker, request, step)).await;
                Some(exchange.unwrap_or_else(|_| Err(format!("no end within {PATIENCE:?}"))))
            }
            None => None,
        };
        let asked = step.autoscale.as_ref();
        let asked = asked.map(|view| known.policy.ask(worker, &self.role.name, view, since_1970()));
        let took = clock::now().saturating_duration_since(began);
        clock::idle().await;
        // What the plugin asks after the exchange, or in the background.
        let until = clock::now() + AFTERMATH;
        while cast.waits() && clock::now() < until {
            clock::sleep(Duration::from_millis(100)).await;
            clock::idle().await;
        }
        let mut findings = verdict::exchange(expect, &cast.received.borrow(), got.as_ref());
        findings.extend(asked.iter().flat_map(|said| verdict::proposal(expect, said)));
        findings.extend(cast.findings());
        let seen = self.record.take();
        logs.extend(seen.shown());
        findings.extend(verdict::seen(expect, &seen));
        let after = Series::of(&self.role.name, &worker.shared.state.metrics.render(|_| true));
        findings.extend(verdict::metrics(expect, &known.counted, &after));
        known.counted = after;
        let state = &worker.shared.state;
        findings.extend(verdict::held("dict", &expect.dict, |dict, key| {
            let (value, _) = state.dict(dict).get(key.as_bytes(), state.now()).ok()?;
            Some(String::from_utf8_lossy(&value).into_owned())
        }));
        findings.extend(verdict::held("kv", &expect.kv, |store, key| {
            let Ok(Store::Memory(store)) = worker.kv.find(&worker.snapshot().region, store) else { return None };
            match store.ask(&KvAsk::Get { key: key.as_bytes().to_vec() }) {
                Ok(abi::Value::Bytes(value)) => Some(String::from_utf8_lossy(&value).into_owned()),
                _ => None,
            }
        }));
        if let Some(wanted) = expect.took
            && wanted != took
        {
            findings.push(Finding::new("took", format!("{wanted:?}"), format!("{took:?}")));
        }
        Acted { findings, got, took }
    }
}

fn since_1970() -> Duration {
    clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn put(shared: &Shared, dict: &str, key: &str, value: &str) -> abi::Answer<()> {
    let write = abi::DictWrite::Set { value: value.as_bytes(), ttl: None, version: None };
    shared.state.dict(dict).write(key.as_bytes(), write, shared.state.now())
}

/// Who is played where.
fn addresses(region: &Region) -> HashMap<SocketAddr, Player> {
    let pools = region.pools.values();
    let player = |pool: &config::Pool| Player { pool: pool.name.clone(), http2: pool.http2 };
    pools.flat_map(|pool| pool.origins.iter().map(move |origin| (*origin, player(pool)))).collect()
}

/// Sends a request as a client would, over a pipe; why there is no response, if there is none.
async fn exchange(worker: &Rc<Worker>, script: &spec::Request, step: &Step) -> Result<Got, String> {
    let (near, far) = tokio::io::duplex(PIPE);
    let (remote, local) = ((Ipv4Addr::new(192, 0, 2, 1), 50_000), (Ipv4Addr::new(192, 0, 2, 2), 80));
    let connection = Connection::new(remote.into(), local.into(), None);
    spawn_local(serve::serve(worker.clone(), Stream::Memory(far), connection, true, false));
    let (mut send, driving) = http1::handshake(TokioIo::new(near)).await.map_err(|error| error.to_string())?;
    let driving = spawn_local(driving);
    let response = send.send_request(request(script, step)?).await.map_err(|error| error.to_string())?;
    let (parts, body) = response.into_parts();
    let body = pieces::read(body).await;
    drop(send);
    // The worker sees the end of the connection.
    let _ = driving.await;
    Ok(Got { status: parts.status.as_u16(), headers: parts.headers, body })
}

fn request(script: &spec::Request, step: &Step) -> Result<Request<Pieces>, String> {
    let mut request = Request::new(Pieces::new(&script.body, &script.trailers));
    *request.method_mut() = script.method.parse().map_err(|_| format!("no method {:?}", script.method))?;
    *request.uri_mut() = script.path.parse().map_err(|_| format!("no path {:?}", script.path))?;
    let headers = request.headers_mut();
    headers
        .insert(header::HOST, HeaderValue::from_str(&script.host).map_err(|_| format!("no host {:?}", script.host))?);
    headers.extend(pieces::map(&script.headers));
    announce(headers, &script.trailers);
    if !step.origin.trailers.is_empty() || step.expect.response.as_ref().is_some_and(|r| !r.trailers.is_empty()) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    Ok(request)
}

/// Tells whether the root of the runtime has been woken since it was last polled: only if it was
/// not is the thread at rest.
struct Root {
    woken: AtomicBool,
    runtime: Mutex<Option<Waker>>,
}

impl Wake for Root {
    fn wake(self: Arc<Root>) {
        self.woken.store(true, Ordering::Release);
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = runtime {
            waker.wake();
        }
    }
}

/// Runs `work` and what it spawns; whenever nothing can be done, the stage's time moves. `None` if
/// it has not ended `until` then, in the system's time.
fn run<T>(work: impl Future<Output = T>, until: Option<Instant>) -> std::io::Result<Option<T>> {
    let root = Arc::new(Root { woken: AtomicBool::new(true), runtime: Mutex::default() });
    let resting = root.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            if !resting.woken.load(Ordering::Acquire) {
                clock::rest();
            }
        })
        .build()?;
    let local = LocalSet::new();
    let value = {
        let mut work = std::pin::pin!(local.run_until(work));
        let mut late = std::pin::pin!(async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        });
        let waker = Waker::from(root.clone());
        runtime.block_on(std::future::poll_fn(|cx| {
            // The sleep wakes a thread at rest; one that never rests may not get to it.
            if until.is_some_and(|until| Instant::now() >= until) || late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            *root.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            root.woken.store(false, Ordering::Release);
            work.as_mut().poll(&mut Context::from_waker(&waker)).map(Some)
        }))
    };
    // Whatever still runs is dropped here, on its own thread.
    let _inside = runtime.enter();
    drop(local);
    Ok(value)
}
