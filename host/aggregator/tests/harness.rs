//! A region in code, an edge that is only its reports, and a client of a few lines.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::region::*;
use serde_json::Value;
use wire::{Membership, OriginReport, PoolReport, Report, Stage};

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("forebay-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// How many origins have a state file.
    pub fn state_files(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(self.0.join("state")) else { return 0 };
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count()
    }

    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.0.join("journal.jsonl")).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A region with the pool `shop`: 2 to 5 origins, 10 requests a second each.
pub struct Setup {
    pub scaling: Scaling,
    pub warmup: Option<Warmup>,
    pub listed: Vec<SocketAddr>,
    pub journal: PathBuf,
    pub drain: Duration,
}

impl Setup {
    pub fn new(folder: &Path) -> Setup {
        let process = ProcessActuator {
            command: vec![env!("CARGO_BIN_EXE_forebay-test-origin").into(), "{port}".into(), "50".into()],
            host: "127.0.0.1".parse().unwrap(),
            ready_path: "/ready".into(),
            boot_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(2),
            state_dir: folder.join("state"),
        };
        Setup {
            scaling: Scaling {
                mode: config::region::ScalingMode::On,
                floor: 2,
                ceiling: 5,
                signals: Vec::new(),
                reactive: Some(Reactive {
                    requests_per_origin: Some(10.0),
                    window: Duration::from_secs(2),
                    headroom: 1.0,
                }),
                predictive: None,
                budget: None,
                schedules: Vec::new(),
                scripts: Vec::new(),
                lead: Duration::ZERO,
                lead_bounds: None,
                step_up: 10.into(),
                step_down: 10.into(),
                tolerance: Scaling::TOLERANCE,
                stabilisation: Duration::ZERO,
                warm_pool: None,
                hints: None,
                actuator: Actuator::Process(process),
            },
            warmup: Some(Warmup { path: "/".into(), requests: 1, timeout: Duration::from_secs(30) }),
            listed: Vec::new(),
            journal: folder.join("journal.jsonl"),
            drain: Duration::from_secs(60),
        }
    }

    pub fn process(&mut self) -> &mut ProcessActuator {
        match &mut self.scaling.actuator {
            Actuator::Process(process) => process,
            Actuator::DryRun => panic!("not a process actuator"),
        }
    }

    pub fn region(&self) -> Arc<Region> {
        let pool = Pool {
            name: "shop".into(),
            origins: self.listed.clone(),
            balance: Balance::RoundRobin,
            http2: false,
            timeouts: PoolTimeouts { response: self.drain, body: Duration::ZERO, ..PoolTimeouts::default() },
            idle_connections: 8,
            health: None,
            warmup: self.warmup.clone(),
            slow_start: Duration::ZERO,
            scaling: Some(self.scaling.clone()),
        };
        let still = Pool { name: "still".into(), scaling: None, ..pool.clone() };
        Arc::new(Region {
            edge: None,
            aggregator: Some(Aggregator {
                address: "127.0.0.1:0".parse().unwrap(),
                region: "test".into(),
                journal: Some(Journal::at(self.journal.clone())),
                history: Some(History::beside(&self.journal)),
                tick: Duration::from_millis(100),
                stale_after: Duration::from_secs(5),
                lease: None,
            }),
            log: Log { format: LogFormat::Json, filter: "info".into(), access: false },
            secrets: Default::default(),
            plugins: BTreeMap::new(),
            routes: Vec::new(),
            pools: [("shop".to_string(), Arc::new(pool)), ("still".to_string(), Arc::new(still))].into(),
            targets: Default::default(),
            dicts: BTreeMap::new(),
            buckets: BTreeMap::new(),
            kv: BTreeMap::new(),
            queues: BTreeMap::new(),
            calendars: Vec::new(),
        })
    }
}

/// An aggregator as a process that can be killed, with the pool `shop`, which nothing runs for.
pub struct Victim {
    process: Child,
    pub address: SocketAddr,
}

impl Victim {
    /// `scaling`: the rules of the pool, as in a region file.
    pub fn start(folder: &Path, scaling: &str) -> Victim {
        let file = folder.join("region.yaml");
        let text = format!(
            "aggregator: {{address: '127.0.0.1:0', journal: d.jsonl, tick: 250ms}}\n\
             pools: [{{name: shop, origins: ['127.0.0.1:1'], \
             scaling: {{ceiling: 300, actuator: dry_run, {scaling}}}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_forebay-test-aggregator"))
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Victim { process, address: line.trim().parse().unwrap() }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// As one that is asked to stop.
    pub fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

/// An edge of which only the reports exist. It warms what it is told to warm.
pub struct Edge {
    pub aggregator: SocketAddr,
    pub report: Report,
    /// Warm-up requests are answered.
    pub warms: bool,
    /// Requests a second that it claims.
    pub load: u64,
    pub in_flight: BTreeMap<SocketAddr, u64>,
    pub known: Option<Membership>,
}

impl Edge {
    pub fn new(name: &str, aggregator: SocketAddr) -> Edge {
        let (edge, pools) = (name.into(), BTreeMap::new());
        let report = Report { version: 1, edge, boot: 1, seq: 0, period_ms: 1000, pools, farewell: false };
        Edge { aggregator, report, warms: true, load: 0, in_flight: BTreeMap::new(), known: None }
    }

    /// Sends the next report and takes the membership.
    pub fn report(&mut self) -> Membership {
        self.report.seq += 1;
        let members = self.known.iter().flat_map(|known| known.pools.get("shop")).flatten();
        let origins = members.filter(|member| member.stage != Stage::Booting).map(|member| {
            let in_flight = self.in_flight.get(&member.address).copied().unwrap_or(0);
            (member.address, OriginReport { requests: 0, in_flight, healthy: true, warmed: self.warms })
        });
        let pool = PoolReport { requests: self.load, origins: origins.collect(), ..PoolReport::default() };
        self.report.pools = [("shop".to_string(), pool)].into();
        let (status, body) = post(self.aggregator, &serde_json::to_string(&self.report).unwrap());
        assert_eq!(status, 200, "{body}");
        let membership: Membership = serde_json::from_value(body).unwrap();
        self.known = Some(membership.clone());
        membership
    }

    /// Reports until the pool is as asked, for at most ten seconds.
    pub fn report_until(&mut self, what: &str, is: impl Fn(&[wire::Member]) -> bool) -> Vec<wire::Member> {
        let mut last = Vec::new();
        for _ in until(Duration::from_secs(10)) {
            last = self.report().pools.remove("shop").unwrap();
            if is(&last) {
                return last;
            }
        }
        panic!("not reached: {what}; the pool is {last:?}");
    }
}

/// All requests that the points of 15 s stand for: what is on the disk.
pub fn remembered(address: SocketAddr) -> f64 {
    let (status, answer) = get(address, "/v1/pools/shop/history?step=15s");
    assert_eq!(status, 200, "{answer}");
    let points = answer["points"].as_array().unwrap();
    let number = |point: &Value, name: &str| point[name].as_f64().unwrap();
    points.iter().map(|point| number(point, "requests") * number(point, "covered") * 15.0).sum()
}

/// Ticks of 50 ms until the deadline.
pub fn until(deadline: Duration) -> impl Iterator<Item = ()> {
    let end = Instant::now() + deadline;
    std::iter::from_fn(move || {
        std::thread::sleep(Duration::from_millis(50));
        (Instant::now() < end).then_some(())
    })
}

pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    for _ in until(Duration::from_secs(10)) {
        if is() {
            return;
        }
    }
    panic!("not reached: {what}");
}

pub fn count(members: &[wire::Member], stage: Stage) -> usize {
    members.iter().filter(|member| member.stage == stage).count()
}

pub fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, body) = exchange(address, "GET", path, "");
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

pub fn post(address: SocketAddr, body: &str) -> (u16, Value) {
    let (status, body) = exchange(address, "POST", "/v1/reports", body);
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

pub fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever refuses a body early may close before all of it is written.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_string())
}

/// The process numbers of the origins that have a state file, by address.
pub fn pids(folder: &Folder) -> BTreeMap<String, u64> {
    let Ok(entries) = std::fs::read_dir(folder.0.join("state")) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts = paths.filter(|path| path.extension().is_some_and(|e| e == "json")).map(std::fs::read_to_string);
    texts
        .flatten()
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .map(|record| (record["address"].as_str().unwrap().to_string(), record["identity"]["pid"].as_u64().unwrap()))
        .collect()
}

pub fn is_alive(pid: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(") ").unwrap().1.starts_with('Z')
}
