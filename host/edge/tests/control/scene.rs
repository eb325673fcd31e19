//! A control thread with what it watches, and no workers.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use forebay_edge::control::{self, Control};
use forebay_edge::membership::{Member, Memberships};
use forebay_edge::snapshot::Snapshot;
use forebay_edge::telemetry::{self, Ledger};
use forebay_edge::worker::Shared;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use wire::Stage;

pub struct Scene {
    pub shared: Arc<Shared>,
    pub control: Control,
    pub metrics: PrometheusHandle,
}

/// The recorder is one for the process: tests name their pools differently.
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let matcher = Matcher::Suffix(telemetry::HISTOGRAM_SUFFIX.to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(matcher, telemetry::buckets()).unwrap();
        let handle = builder.install_recorder().unwrap();
        telemetry::describe();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

/// A region file, read as the binary reads it.
pub fn region(text: &str) -> Arc<config::Region> {
    let region = config::parse(text, Path::new("test.yaml"), Path::new("/nowhere"));
    Arc::new(region.map_err(|errors| errors.to_string()).unwrap())
}

fn snapshot(region: Arc<config::Region>, membership: &Memberships) -> Snapshot {
    Snapshot::new(region, Default::default(), membership).unwrap()
}

impl Scene {
    /// `edge` are further keys of the section, `pools` its entries.
    pub fn start(edge: &str, pools: &str) -> Scene {
        let region = region(&text(edge, pools));
        let metrics = recorder();
        let workers = region.edge.as_ref().unwrap().workers;
        let membership = Memberships::new(&region, workers);
        let shared = Arc::new(Shared {
            ledger: Arc::new(Ledger::new(workers, false)),
            standing: Default::default(),
            state: Default::default(),
            sources: Default::default(),
            starter: None,
            snapshot: ArcSwap::from_pointee(snapshot(region, &membership)),
            membership,
        });
        let admin = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = control::start(shared.clone(), metrics.clone(), Some(admin)).unwrap();
        Scene { shared, control, metrics }
    }

    pub fn reload(&self, edge: &str, pools: &str) {
        let region = region(&text(edge, pools));
        self.shared.membership.reload(&region, Instant::now());
        self.shared.snapshot.store(Arc::new(snapshot(region, &self.shared.membership)));
    }

    pub fn member(&self, pool: &str, address: SocketAddr) -> Arc<Member> {
        let pool = self.shared.membership.pool(pool).unwrap();
        pool.view().members.iter().find(|member| member.address == address).unwrap().clone()
    }

    pub fn publish(&self, pool: &str, members: &[(SocketAddr, Stage)]) {
        self.shared.membership.apply(&membership(pool, members), Instant::now()).unwrap();
    }

    /// The value of a metric line that begins so, or 0.
    pub fn metric(&self, begins: &str) -> f64 {
        self.shared.ledger.publish(&self.shared.membership);
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(begins));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn ask(&self, method: Method, path: &str) -> (u16, String) {
        let response = ask(self.control.admin_address().unwrap(), method, path);
        (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        let (status, text) = self.ask(Method::GET, path);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn text(edge: &str, pools: &str) -> String {
    format!(
        "edge: {{ name: edge-1, workers: 2, listeners: [{{ address: 127.0.0.1:0 }}], {edge} }}\nroutes: []\npools: [{pools}]\n"
    )
}

pub fn membership(pool: &str, members: &[(SocketAddr, Stage)]) -> wire::Membership {
    let members =
        members.iter().map(|(address, stage)| wire::Member { address: *address, stage: *stage, stage_age_ms: 0 });
    wire::Membership {
        version: wire::VERSION,
        epoch: 1,
        token: None,
        pools: [(pool.to_owned(), members.collect())].into(),
    }
}

fn ask(address: SocketAddr, method: Method, path: &str) -> Response<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "admin");
        let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    })
}

/// Waits until `is` holds; a deadline that passes is a failure that names `what`.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
