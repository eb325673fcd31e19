//! One worker of the edge without a port: a route that answers itself, with one plugin on it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::{Action, ContextId, Event, Instance, Phase};
use config::Isolation;
use edge::body::Body;
use edge::chain;
use edge::exchange::Exchange;
use edge::exchange::seat::{Home, Seat};
use edge::instances::{Instances, Lease};
use edge::route::Route;
use edge::serve::Connection;
use edge::worker::{Shared, Worker};
use http::{HeaderMap, Request};
use tokio::task::LocalSet;

use crate::filter::{InMlua, InRust};

pub type Engine = Arc<dyn abi::Plugin>;

const FILTER: &str = "plugins/lua/header-filter/main.lua";

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join(FILTER)
}

pub fn rust() -> Option<Engine> {
    Some(Arc::new(InRust))
}

pub fn lua() -> Option<Engine> {
    Some(lua::load(&script()).expect("the plugin that we ship loads"))
}

pub fn mlua() -> Option<Engine> {
    let script = std::fs::read_to_string(script()).expect("the plugin that we ship is there");
    Some(Arc::new(InMlua { script }))
}

type Alone = (RefCell<Box<dyn Instance>>, Rc<Seat>);

pub struct Stage {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    worker: Rc<Worker>,
    route: Arc<Route>,
    connection: Rc<Connection>,
    headers: HeaderMap,
    /// For the engine alone: an instance, and the seat that answers it.
    alone: Option<Alone>,
}

impl Stage {
    pub fn without() -> Stage {
        Stage::new(None)
    }

    pub fn new(engine: Option<&Engine>) -> Stage {
        Stage::isolated(engine, Isolation::Worker)
    }

    pub fn isolated(engine: Option<&Engine>, isolation: Isolation) -> Stage {
        let region = region(engine.is_some(), isolation);
        let load = |_: &config::Plugin| Ok(engine.expect("a region with a plugin has an engine").clone());
        let plugins = edge::plugins::load_by(&region, None, &load).expect("the plugin starts");
        let shared = Shared::new(&region, plugins, 1).expect("the region is right");
        let worker = Rc::new(Worker::new(0, Arc::new(shared), edge::origin::dial::Dial::Tcp));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = LocalSet::new();
        worker.instances.surroundings.attach(&worker);
        local.spawn_local(Instances::tend(worker.clone()));
        let (remote, local_address) = (([127, 0, 0, 1], 50_000).into(), ([127, 0, 0, 1], 80).into());
        let connection = Rc::new(Connection::new(remote, local_address, None));
        let route = worker.snapshot().routes[0].clone();
        let mut stage = Stage { runtime, local, worker, route, connection, headers: headers(), alone: None };
        stage.alone = engine.map(|engine| stage.seat(engine));
        stage
    }

    fn seat(&self, engine: &Engine) -> Alone {
        let lease = self.lease();
        let exchange = self.exchange();
        *exchange.response.borrow_mut() = Some(http::Response::new(()).into_parts().0);
        let surroundings = &self.worker.instances.surroundings;
        let home = Home::Exchange { exchange: Rc::new(exchange), slot: Weak::new() };
        let seat = Seat::new(&self.route.plugins[0].bound, surroundings, &lease.running().log, home, Phase::Request);
        let host = Seat::of_plugin(&self.route.plugins[0].bound, surroundings, &lease.running().log);
        let instance = engine.instantiate(host).expect("an instance");
        (RefCell::new(instance), Rc::new(seat))
    }

    fn lease(&self) -> Lease {
        self.worker.instances.lease(&self.route.plugins[0].bound).expect("an instance")
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = http::Uri::from_static("/a/path?with=query");
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn exchange(&self) -> Exchange {
        let (parts, _) = self.request().into_parts();
        Exchange::new(&self.worker, &self.worker.snapshot(), &self.route, &self.connection, "id", parts)
    }

    /// The plugin did its work, in the chain as in the seat: nothing is measured that does not.
    pub fn check(&self) {
        self.engine(1);
        let (_, seat) = self.alone.as_ref().expect("a stage with a plugin");
        let Home::Exchange { exchange, .. } = &seat.home else { panic!("a seat of an exchange") };
        let request = exchange.request.borrow();
        assert_eq!(request.headers["x-edge"], "shop.example.com/17");
        assert_eq!(request.headers["x-seen"], "human");
        let answer = self.runtime.block_on(self.local.run_until(self.serve()));
        assert_eq!(answer.headers()["x-served-by"], "forebay");
        assert!(!answer.headers().contains_key("server"));
    }

    async fn serve(&self) -> http::Response<Body> {
        let snapshot = self.worker.snapshot();
        let answered = chain::serve(&self.worker, &snapshot, &self.route, &self.connection, "id", self.request()).await;
        answered.expect("the route answers").response
    }

    /// `times` exchanges through the chain.
    pub fn chain(&self, times: u32) {
        self.runtime.block_on(self.local.run_until(async {
            for _ in 0..times {
                std::hint::black_box(self.serve().await);
            }
        }));
    }

    /// The same, and after each what else the worker has to do.
    pub fn chain_in_turns(&self, times: u32) {
        self.runtime.block_on(self.local.run_until(async {
            for _ in 0..times {
                std::hint::black_box(self.serve().await);
                tokio::task::yield_now().await;
            }
        }));
    }

    /// So many turns of the worker.
    pub fn turns(&self, times: u32) {
        self.runtime.block_on(self.local.run_until(async {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        }));
    }

    /// How long an exchange takes right after one that the header x-trap ends, or that it does not.
    pub fn next_after(&self, bad: bool) -> Duration {
        let mut before = self.request();
        if bad {
            before.headers_mut().insert("x-trap", http::HeaderValue::from_static("1"));
        }
        self.runtime.block_on(self.local.run_until(async {
            let snapshot = self.worker.snapshot();
            let first = chain::serve(&self.worker, &snapshot, &self.route, &self.connection, "id", before).await;
            assert_eq!(first.is_err(), bad);
            drop(first);
            let begin = Instant::now();
            std::hint::black_box(self.serve().await);
            begin.elapsed()
        }))
    }

    /// The event of the request's headers alone, `times` over.
    pub fn request_headers(&self, times: u32) {
        let (instance, seat) = self.alone.as_ref().expect("a stage with a plugin");
        let mut instance = instance.borrow_mut();
        let context = ContextId(2);
        instance.open(context, seat.clone()).expect("it opens");
        seat.phase.set(Phase::Request);
        for _ in 0..times {
            let told = instance.call(context, Event::RequestHeaders { end_of_stream: true });
            assert!(matches!(told, Ok(Action::Continue)));
        }
        instance.close(context);
    }

    /// `times` exchanges, each with an instance that is started and ended.
    pub fn engine_each(&self, times: u32) {
        let (_, seat) = self.alone.as_ref().expect("a stage with a plugin");
        let bound = &self.route.plugins[0].bound;
        let lease = self.lease();
        for context in 2..2 + times {
            let home = Seat::of_plugin(bound, &self.worker.instances.surroundings, &lease.running().log);
            let mut instance = bound.code.instantiate(home).expect("an instance");
            exchange(&mut *instance, seat, ContextId(context));
        }
    }

    /// `times` exchanges of the instance alone.
    pub fn engine(&self, times: u32) {
        let (instance, seat) = self.alone.as_ref().expect("a stage with a plugin");
        let mut instance = instance.borrow_mut();
        for context in 2..2 + times {
            exchange(&mut **instance, seat, ContextId(context));
        }
    }
}

fn exchange(instance: &mut dyn Instance, seat: &Rc<Seat>, context: ContextId) {
    instance.open(context, seat.clone()).expect("it opens");
    seat.phase.set(Phase::Request);
    let request = instance.call(context, Event::RequestHeaders { end_of_stream: true });
    seat.phase.set(Phase::Response);
    let response = instance.call(context, Event::ResponseHeaders { end_of_stream: true });
    assert!(matches!((request, response), (Ok(Action::Continue), Ok(Action::Continue))));
    instance.close(context);
}

/// What a browser sends, more or less.
fn headers() -> HeaderMap {
    let list = [
        ("host", "shop.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Safari/537.36"),
        ("accept", "text/html,application/xhtml+xml"),
        ("accept-language", "en"),
        ("accept-encoding", "gzip, br"),
        ("cookie", "session=0123456789abcdef"),
        ("x-id", "17"),
        ("x-request-id", "0123456789abcdef0123456789abcdef"),
    ];
    let pair = |(name, value): (&'static str, &'static str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    list.into_iter().map(pair).collect()
}

fn region(plugin: bool, isolation: Isolation) -> Arc<config::Region> {
    let isolation = isolation.name();
    let (section, plugins) = match plugin {
        true => (
            format!(
                "plugins: [{{ name: filter, lua: {FILTER}, isolation: {isolation}, crash_budget: {{ faults: 0 }} }}]\n"
            ),
            "[filter]",
        ),
        false => (String::new(), "[]"),
    };
    let text = format!(
        "edge: {{ name: bench, workers: 1, listeners: [{{ address: \"127.0.0.1:0\" }}] }}\n\
         {section}routes:\n  - name: all\n    plugins: {plugins}\n    \
         respond: {{ headers: {{ server: origin, content-type: text/plain }}, body: ok }}\n"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let region = config::parse(&text, &root.join("bench.yaml"), root);
    Arc::new(region.unwrap_or_else(|errors| panic!("{errors}")))
}
