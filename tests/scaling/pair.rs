//! A region of two aggregators that share a lease in a real Redis, and edges that report to both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::binary::forebay;
use harness::{Client, Folder, PATIENCE, Port, Process, Redis, wait_until};
use serde_json::Value;

/// Two to five origins, of twenty requests a second each; and three at least on the days of a calendar.
const SCALING: &str = "      floor: 2\n      ceiling: 5\n      stabilisation: 500ms\n      \
                       reactive: {requests_per_origin: 20, window: 2s, headroom: 1.0}\n      \
                       schedules: [{name: event, cron: \"* * * * *\", on: days, zone: UTC, duration: 5m, \
                       floor: 3, lead: 0s}]";
const CALENDAR: &str = "calendars: [{name: days, ical: days.ics}]\n";

pub struct Aggregator {
    pub process: Process,
    pub control: SocketAddr,
    file: String,
    journal: String,
}

pub struct Pair {
    pub redis: Redis,
    pub aggregators: [Aggregator; 2],
    pub edges: Vec<(Process, SocketAddr)>,
    folder: Folder,
    _ports: Vec<Port>,
}

impl Pair {
    /// Starts all, and waits until one leads and every edge serves.
    #[track_caller]
    pub fn start(lease: &str, edges: usize) -> Pair {
        let (folder, redis) = (Folder::new(), Redis::start());
        let ports: Vec<_> = (0..2 + edges).map(|_| Port::free()).collect();
        let controls = [ports[0].address, ports[1].address];
        let log = "log: {format: json, filter: info, access: false}\n";
        folder.write("days.ics", days("20200101", "20200102"));
        let pools = format!(
            "{CALENDAR}pools:\n  - name: shop\n    warmup: {{path: /warmup, requests: 1}}\n    timeouts: {{response: 2s, body: 1s}}\n    \
             scaling:\n{SCALING}\n      actuator:\n        process:\n          command: [\"{}\", origin, \"--port={{port}}\", \
             \"--boot=50ms\", \"--service=1ms\", \"--capacity=1000\"]\n          ready_path: /ready\n          \
             stop_timeout: 2s\n          state_dir: {}\n",
            forebay().display(),
            folder.path().join("state").display()
        );
        let kv = format!("kv: [{{name: leases, url: \"{}\", timeout: 300ms}}]\n", redis.url());
        let aggregators = [0, 1].map(|i| {
            let (file, journal, control) =
                (format!("aggregator-{i}.yaml"), format!("aggregator-{i}/decisions.jsonl"), controls[i]);
            folder.write(
                &file,
                format!(
                    "{log}{kv}aggregator: {{address: \"{control}\", region: test, journal: {}, tick: 200ms, \
                     stale_after: 2s, lease: {{kv: leases{lease}}}}}\n{pools}",
                    folder.path().join(&journal).display()
                ),
            );
            let process = Process::start(&["run", "-c", &file], folder.path());
            Aggregator { process, control, file, journal }
        });
        let edges = ports[2..].iter().enumerate().map(|(i, port)| {
            let (file, address) = (format!("edge-{i}.yaml"), port.address);
            folder.write(
                &file,
                format!(
                    "{log}edge:\n  name: e{i}\n  workers: 1\n  report_interval: 200ms\n  aggregators: \
                     [\"http://{}\", \"http://{}\"]\n  listeners: [{{address: \"{address}\"}}]\nroutes:\n  \
                     - {{name: all, pool: shop}}\n{pools}",
                    controls[0], controls[1]
                ),
            );
            (Process::start(&["run", "-c", &file], folder.path()), address)
        });
        let edges = edges.collect();
        let pair = Pair { redis, aggregators, edges, folder, _ports: ports };
        pair.leader();
        for (_, address) in &pair.edges {
            wait_until("the edge to serve from an origin", PATIENCE, || (status(*address)? == 200).then_some(()));
        }
        pair
    }

    /// What an aggregator answers, if it does within a second.
    pub fn ask(&self, i: usize, path: &str) -> Option<Value> {
        let mut client = Client::try_connect(self.aggregators[i].control).ok()?;
        client.request("GET", path, &[("Connection", "close")], b"");
        serde_json::from_slice(&client.try_response().ok()?.body).ok()
    }

    pub fn role(&self, i: usize) -> Option<String> {
        self.ask(i, "/v1/pools")?["role"].as_str().map(str::to_owned)
    }

    /// The one that leads, of those in `of`.
    #[track_caller]
    pub fn leader_of(&self, of: &[usize]) -> usize {
        wait_until("a leader", PATIENCE, || of.iter().copied().find(|i| self.role(*i).as_deref() == Some("leader")))
    }

    #[track_caller]
    pub fn leader(&self) -> usize {
        self.leader_of(&[0, 1])
    }

    pub fn restart(&mut self, i: usize) {
        let file = self.aggregators[i].file.clone();
        self.aggregators[i].process = Process::start(&["run", "-c", &file], self.folder.path());
    }

    /// From now on it is a day of the calendar, or none any more.
    pub fn set_event(&self, now: bool) {
        self.folder.write("days.ics", if now { days("20200101", "20991231") } else { days("20200101", "20200102") });
    }

    /// What `forebay explain` prints of the pool.
    #[track_caller]
    pub fn explained(&self, i: usize) -> String {
        let url = format!("http://{}", self.aggregators[i].control);
        let output = std::process::Command::new(forebay()).args(["explain", "shop", "--aggregator", &url]).output();
        String::from_utf8(output.expect("it runs").stdout).expect("it is text")
    }

    /// All lines that an aggregator has written, as role, token, decision.
    pub fn journal(&self, i: usize) -> Vec<(String, Option<u64>, Value)> {
        let path = self.folder.path().join(&self.aggregators[i].journal);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .map(|line| {
                let role = line["role"].as_str().unwrap_or_default().to_owned();
                (role, line["token"].as_u64(), line["decision"].clone())
            })
            .collect()
    }

    /// No token stands in both journals, and each line that was acted on has one.
    #[track_caller]
    pub fn assert_one_writer_for_each_token(&self) {
        let tokens = |i| {
            let lines = self.journal(i).into_iter();
            let acting = lines.filter(|(role, ..)| role != "standby");
            acting.map(|(_, token, decision)| token.unwrap_or_else(|| panic!("no token: {decision}"))).collect()
        };
        let (first, second): (BTreeSet<u64>, BTreeSet<u64>) = (tokens(0), tokens(1));
        assert!(first.is_disjoint(&second), "{first:?} and {second:?}");
        assert!(!first.is_empty() || !second.is_empty(), "somebody led");
    }

    /// The token that the origins were changed under last.
    pub fn token(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.path().join("state/shop.token")).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// The origins that run, by address.
    pub fn origins(&self) -> BTreeMap<String, u64> {
        let entries = std::fs::read_dir(self.folder.path().join("state")).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
        let records = paths.filter_map(|path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok());
        let origin = |record: Value| {
            let pid = record["identity"]["pid"].as_u64()?;
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&line).contains("origin");
            ours.then(|| Some((record["address"].as_str()?.to_owned(), pid)))?
        };
        records.filter_map(origin).collect()
    }

    #[track_caller]
    pub fn wait_for_origins(&self, n: usize) -> BTreeMap<String, u64> {
        wait_until(&format!("{n} origins"), PATIENCE * 2, || Some(self.origins()).filter(|origins| origins.len() == n))
    }

    /// Every origin of `before` runs on, for so long.
    #[track_caller]
    pub fn assert_none_stops(&self, before: &BTreeMap<String, u64>, long: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < long {
            let now = self.origins();
            let gone: Vec<_> = before.iter().filter(|(address, pid)| now.get(*address) != Some(pid)).collect();
            assert!(gone.is_empty(), "stopped after {:?}: {gone:?}", begin.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (edge, _) in &mut self.edges {
            edge.kill();
        }
        for aggregator in &mut self.aggregators {
            aggregator.process.kill();
        }
        for pid in self.origins().values() {
            let _ = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        }
    }
}

/// A calendar with one event of whole days, the last of which is not one of them.
fn days(from: &str, to: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:{from}\r\nDTEND;VALUE=DATE:{to}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

pub fn status(address: SocketAddr) -> Option<u16> {
    let mut client = Client::try_connect(address).ok()?;
    client.request("GET", "/", &[("Connection", "close")], b"");
    client.try_response().ok().map(|response| response.status)
}

/// Requests at a steady rate, until it is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub fn on(address: SocketAddr, per_second: u32) -> Load {
        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, failures) = (stop.clone(), failed.clone());
        let thread = std::thread::spawn(move || {
            let (begin, mut sent) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                if status(address) != Some(200) {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
                sent += 1;
                let due = Duration::from_secs(1) * sent / per_second;
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        });
        Load { stop, failed, thread: Some(thread) }
    }

    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
