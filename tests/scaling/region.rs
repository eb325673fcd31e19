//! A region of two processes: an edge, and the aggregator that runs its origins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use harness::binary::forebay;
use harness::{Client, Folder, PATIENCE, Port, Process, WallClock, wait_until};
use serde_json::Value;

pub struct Region {
    pub edge: Process,
    pub aggregator: Process,
    pub address: SocketAddr,
    pub control: SocketAddr,
    folder: Folder,
    environment: Vec<(&'static str, PathBuf)>,
    _ports: [Port; 3],
}

/// The pool as both files have it; `{scaling}` is what a test wants of it.
fn pools(folder: &Folder, boot: &str, scaling: &str) -> String {
    format!(
        "pools:\n  - name: shop\n    health: {{path: /ready, interval: 200ms, timeout: 2s}}\n    \
         warmup: {{path: /warmup, requests: 2}}\n    scaling:\n{scaling}\n      actuator:\n        process:\n          \
         command: [\"{}\", origin, \"--port={{port}}\", \"--boot={boot}\", \"--service=1ms\", \"--capacity=1000\"]\n          \
         ready_path: /ready\n          stop_timeout: 2s\n          state_dir: {}\n",
        forebay().display(),
        folder.path().join("state").display()
    )
}

impl Region {
    /// Starts both, and waits until the edge serves from origins of the aggregator.
    #[track_caller]
    pub fn start(scaling: &str) -> Region {
        Region::start_with(scaling, "")
    }

    /// The same, where a Lua plugin of this text sees every request.
    #[track_caller]
    pub fn start_with(scaling: &str, plugin: &str) -> Region {
        let folder = Folder::new();
        folder.write("plugin.lua", plugin);
        Region::start_in(folder, &[], "100ms", scaling, (plugin, ""))
    }

    /// The same by another wall clock, with origins that boot for so long.
    #[track_caller]
    pub fn start_by(clock: &WallClock, boot: &str, scaling: &str) -> Region {
        Region::start_in(Folder::new(), &clock.environment(), boot, scaling, ("", ""))
    }

    /// The same, where the pool's scaling may name `plugins`, whose files these are.
    #[track_caller]
    pub fn start_scripted(scaling: &str, plugins: &str, files: &[(&str, &str)]) -> Region {
        let folder = Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        Region::start_in(folder, &[], "100ms", scaling, ("", plugins))
    }

    #[track_caller]
    fn start_in(
        folder: Folder,
        environment: &[(&'static str, PathBuf)],
        boot: &str,
        scaling: &str,
        (plugin, scripts): (&str, &str),
    ) -> Region {
        let (plugins, used) = match plugin {
            "" => (scripts, ""),
            _ => (
                "plugins: [{name: hinter, lua: plugin.lua, capabilities: [\"scale.hint:shop\"]}]\n",
                "plugins: [hinter], ",
            ),
        };
        let ports = [Port::free(), Port::free(), Port::free()];
        let [address, admin, control] = [ports[0].address, ports[1].address, ports[2].address];
        let log = "log: {format: json, filter: info, access: false}\n";
        let pools = pools(&folder, boot, scaling);
        folder.write(
            "aggregator.yaml",
            format!(
                "{log}aggregator: {{address: \"{control}\", region: test, journal: {}, tick: 200ms}}\n{scripts}{pools}",
                folder.path().join("decisions.jsonl").display()
            ),
        );
        folder.write(
            "edge.yaml",
            format!(
                "{log}edge:\n  name: e1\n  workers: 1\n  admin: {admin}\n  report_interval: 200ms\n  aggregators: \
                 [\"http://{control}\"]\n  listeners: [{{address: \"{address}\"}}]\n{plugins}routes:\n  - {{name: all, \
                 {used}pool: shop}}\n{pools}"
            ),
        );
        let start = |file| Process::start_with(&["run", "-c", file], folder.path(), environment, None);
        let (aggregator, edge) = (start("aggregator.yaml"), start("edge.yaml"));
        let environment = environment.to_vec();
        let region = Region { edge, aggregator, address, control, folder, environment, _ports: ports };
        wait_until("the edge to serve from an origin", PATIENCE, || (region.status()? == 200).then_some(()));
        region
    }

    /// Writes a file beside the region files.
    pub fn write(&self, name: &str, text: &str) {
        self.folder.write(name, text);
    }

    /// Of one request through the edge.
    pub fn status(&self) -> Option<u16> {
        let mut client = Client::try_connect(self.address).ok()?;
        client.request("GET", "/", &[("Connection", "close")], b"");
        client.try_response().ok().map(|response| response.status)
    }

    /// What the aggregator has written into its journal.
    pub fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("decisions.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends the aggregator without a chance to tidy up.
    pub fn kill_aggregator(&mut self) {
        self.aggregator.kill();
    }

    pub fn restart_aggregator(&mut self) {
        let arguments = ["run", "-c", "aggregator.yaml"];
        self.aggregator = Process::start_with(&arguments, self.folder.path(), &self.environment, None);
    }

    /// Starts the edge again, under another name.
    #[track_caller]
    pub fn start_edge(&mut self, name: &str) {
        let text = std::fs::read_to_string(self.folder.path().join("edge.yaml")).expect("it was written");
        self.folder.write("edge.yaml", text.replacen("  name: e1\n", &format!("  name: {name}\n"), 1));
        self.edge = Process::start_with(&["run", "-c", "edge.yaml"], self.folder.path(), &self.environment, None);
        wait_until("the edge to serve from an origin", PATIENCE, || (self.status()? == 200).then_some(()));
    }

    /// What the aggregator answers, if it does.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let mut client = Client::try_connect(self.control).ok()?;
        client.request("GET", path, &[("Connection", "close")], b"");
        serde_json::from_slice(&client.try_response().ok()?.body).ok()
    }

    /// The origins of the pool in this stage, by address, and in order.
    pub fn origins(&self, stage: &str) -> Vec<String> {
        let Some(explained) = self.ask("/v1/pools/shop/explain") else { return Vec::new() };
        let origins = explained["origins"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<String> = origins
            .iter()
            .filter(|origin| origin["stage"] == stage)
            .filter_map(|origin| origin["address"].as_str().map(str::to_owned))
            .collect();
        found.sort();
        found
    }

    pub fn decisions(&self) -> Vec<Value> {
        self.ask("/v1/decisions").and_then(|answer| answer["decisions"].as_array().cloned()).unwrap_or_default()
    }

    /// Origins that run, with their pids: only those that the actuator's own files name.
    pub fn running(&self) -> BTreeMap<String, u64> {
        let state = self.folder.path().join("state");
        let mut found = BTreeMap::new();
        let mut open = vec![state];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                    continue;
                }
                let Ok(text) = std::fs::read(entry.path()) else { continue };
                let Ok(value) = serde_json::from_slice::<Value>(&text) else { continue };
                let (Some(pid), Some(address)) = (pid_in(&value), value["address"].as_str()) else { continue };
                // A pid that was given to another process since must not be hit.
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&line).contains("origin") {
                    found.insert(address.to_owned(), pid);
                }
            }
        }
        found
    }

    /// Sends `TERM`, `KILL`, `STOP`, … to an origin.
    pub fn signal_origin(&self, pid: u64, name: &str) {
        let _ = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    }
}

/// The pid of a record, wherever it stands in it.
fn pid_in(value: &Value) -> Option<u64> {
    let map = value.as_object()?;
    map.get("pid").and_then(Value::as_u64).or_else(|| map.values().find_map(pid_in))
}

impl Drop for Region {
    fn drop(&mut self) {
        self.edge.kill();
        self.aggregator.kill();
        for pid in self.running().into_values() {
            self.signal_origin(pid, "TERM");
        }
    }
}
