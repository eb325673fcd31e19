//! `forebay explain`: why a pool has so many origins, from a running aggregator and from its journal.

use std::process::{Command, Output};

use harness::binary::forebay;
use harness::{Folder, PATIENCE, Port, Process, wait_until};

struct Region {
    aggregator: Process,
    folder: Folder,
    port: Port,
}

impl Region {
    fn start() -> Region {
        let (folder, port) = (Folder::new(), Port::free());
        let text = format!(
            "aggregator: {{address: \"{}\", journal: d.jsonl, tick: 200ms}}\n\
             pools: [{{name: shop, scaling: {{floor: 3, ceiling: 5, actuator: dry_run, reactive: \
             {{requests_per_origin: 10}}}}}}]\n",
            port.address
        );
        folder.write("region.yaml", text);
        let aggregator = Process::start(&["run", "-c", "region.yaml"], folder.path());
        let region = Region { aggregator, folder, port };
        wait_until("a decision", PATIENCE, || {
            region.explain(&["shop", "-c", "region.yaml"]).status.success().then_some(())
        });
        region
    }

    /// When the count was decided that stands: a tick later there is a record of `3 -> 3` beside it.
    fn first(&self) -> String {
        let journal = std::fs::read_to_string(self.folder.path().join("d.jsonl")).expect("a journal");
        let line = journal.lines().next().expect("a line, as a decision was told");
        let record: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!((&record["decision"]["from"], &record["decision"]["to"]), (&0.into(), &3.into()), "{record}");
        record["decision"]["at"].as_str().expect("an instant").to_string()
    }

    fn explain(&self, args: &[&str]) -> Output {
        Command::new(forebay()).arg("explain").args(args).current_dir(self.folder.path()).output().expect("it runs")
    }

    #[track_caller]
    fn told(&self, args: &[&str]) -> String {
        let output = self.explain(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    #[track_caller]
    fn refused(&self, args: &[&str], says: &str) {
        let output = self.explain(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error.contains(says)), (Some(64), true), "{args:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_decision_is_explained_by_the_aggregator_and_once_it_is_gone_by_the_journal() {
    let mut region = Region::start();
    let url = format!("http://{}", region.port.address);
    let now = region.told(&["shop", "--aggregator", &url]);
    for part in ["pool shop: ", "decided", "no edge reports", "proposed", "wanted", "floor 3, ceiling 5", "capacity"] {
        assert!(now.contains(part), "{part}: {now}");
    }
    let first = region.first();
    let list = region.told(&["shop", "--from", &first, "--to", &first, "--last", "1", "-c", "region.yaml"]);
    assert_eq!((list.lines().count(), list.contains("0 -> 3")), (1, true), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&region.told(&["shop", "--json", "-c", "region.yaml"])).expect("it is JSON");
    assert_eq!(json["decision"]["to"], 3);
    let asked = ["-c", "region.yaml"];
    region.refused(&[&["shap"][..], &asked].concat(), "run here are: shop");
    region.refused(&[&["shop", "--at", "-1h"][..], &asked].concat(), "kept are decisions from");
    region.refused(&[&["shop", "--at", "2999-01-01T00:00:00Z"][..], &asked].concat(), "lies ahead");
    region.refused(&[&["shop", "--at", "noon"][..], &asked].concat(), "-10m or -7d (ago)");
    region.refused(&["shop", "--aggregator", "127.0.0.1:1"], "allowed is http://host:port");

    region.aggregator.kill();
    let then = region.told(&["shop", "--at", &first, "-c", "region.yaml"]);
    assert!(then.starts_with("pool shop: 0 -> 3 origins by ") && then.contains("capacity"), "{then}");
    assert_eq!(region.told(&["shop", "--journal", "d.jsonl", "--at", &first]), then);
    let latest = region.told(&["shop", "--journal", "d.jsonl"]);
    assert!(latest.starts_with("pool shop: ") && latest.contains("-> 3 origins by "), "{latest}");
    region.refused(&["shap", "--journal", "d.jsonl"], "it has: shop");
    region.refused(&["shop", "--journal", "d.jsonl", "--at", "-1h"], "it has decisions from");
    let silent = region.explain(&["shop", "--aggregator", &url]);
    let error = String::from_utf8_lossy(&silent.stderr).into_owned();
    assert_eq!((silent.status.code(), error.contains("--journal FILE")), (Some(70), true), "{error}");
    let missing = region.explain(&["shop", "--journal", "none.jsonl"]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("none.jsonl"));
}

/// The record that `host/aggregator/README.md` lists, as lines of a journal.
const RECORD: &str = include_str!("../host/aggregator/tests/decision.json");

fn told_of(role: &str, args: &[&str]) -> String {
    told_with(serde_json::from_str(RECORD).expect("it is JSON"), role, args)
}

fn told_with(decision: serde_json::Value, role: &str, args: &[&str]) -> String {
    let folder = Folder::new();
    let origin = |n: u32| {
        serde_json::json!({
            "address": format!("10.0.0.{n}:80"), "stage": if n == 2 { "booting" } else { "serving" },
            "stage_age_seconds": 400.0 * f64::from(n), "launched_at": "2026-01-31T17:00:00.000Z",
            "ready_at": null, "serving_at": null, "stopping": false,
        })
    };
    let line = serde_json::json!({
        "kind": "decision", "region": "local", "role": role, "token": 12, "decision": decision,
        "origins": (1..=10).map(origin).collect::<Vec<_>>(),
    });
    folder.write("d.jsonl", line.to_string() + "\n");
    let read = ["explain", "shop", "--journal", "d.jsonl", "--at", "2026-01-31T18:00:10Z"];
    let output = Command::new(forebay()).args(read).args(args).current_dir(folder.path()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn a_record_is_told_what_is_wrong_first_in_a_hundred_columns() {
    let told = told_of("leader", &[]);
    assert_eq!(told, include_str!("explain.txt"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
    let standby = told_of("standby", &[]);
    assert!(standby.contains("STANDBY: another aggregator acts") && !standby.contains("leader"), "{standby}");
}

#[test]
fn origins_that_nobody_here_decided_on_are_told_of_and_not_where_there_are_none() {
    let told = told_of("leader", &[]);
    assert!(told.contains("1 more by other hands: 2 run, 1 decided, since 2026-01-31T17:58:00Z"), "{told}");
    let mut decision: serde_json::Value = serde_json::from_str(RECORD).expect("it is JSON");
    decision["foreign"] = serde_json::Value::Null;
    let told = told_with(decision, "leader", &[]);
    assert!(told.contains("ALARM") && !told.contains("other hands"), "{told}");
}

#[test]
fn the_json_of_a_record_is_the_record() {
    let told: serde_json::Value = serde_json::from_str(&told_of("leader", &["--json"])).expect("it is JSON");
    let decision: serde_json::Value = serde_json::from_str(RECORD).expect("it is JSON");
    assert_eq!(told["decision"], decision);
    assert_eq!((told["role"].as_str(), told["token"].as_u64()), (Some("leader"), Some(12)));
    assert_eq!(told["origins"].as_array().map(Vec::len), Some(10));
}

#[test]
fn an_operator_holds_a_pool_and_whoever_asks_why_reads_it() {
    let region = Region::start();
    let url = format!("http://{}", region.port.address);
    let hold = |args: &[&str]| {
        let mut command = Command::new(forebay());
        let output = command.arg("hold").args(args).current_dir(region.folder.path()).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("it is text"))
    };
    assert_eq!(hold(&["shop", "--aggregator", &url]), (Some(0), "pool shop: no operator holds it\n".to_owned()));
    let (code, told) = hold(&["shop", "--for", "1h 30m", "--reason", "a sale & more", "-c", "region.yaml"]);
    assert!(code == Some(0) && told.starts_with("pool shop does not shrink until 20"), "{told}");
    assert!(told.ends_with("Z: a sale & more\n"), "{told}");
    let explained = region.told(&["shop", "--aggregator", &url]);
    assert!(explained.contains("operator: until 20") && explained.contains(": a sale & more"), "{explained}");
    assert_eq!(hold(&["shop", "--aggregator", &url]).1, told, "it stands");
    let refused: [(&[&str], &str); 7] = [
        (&["shop", "--for", "1h"], "needs a --reason"),
        (&["shop", "--reason", "x"], "needs --for TIME or --until INSTANT"),
        (&["shop", "--for", "soon", "--reason", "x"], "soon"),
        (&["shop", "--for", "200h", "--reason", "x", "-c", "region.yaml"], "up to a week"),
        (&["shup", "--for", "1h", "--reason", "x", "-c", "region.yaml"], "pool `shup`; run here are: shop"),
        (&["shop", "--lift", "--for", "1h"], "--lift"),
        (&["shop", "--aggregator", "https://x"], "allowed is http://host:port"),
    ];
    for (args, says) in refused {
        let (code, error) = hold(args);
        assert!(code == Some(64) && error.contains(says), "{args:?}: {error}");
    }
    assert_eq!(hold(&["shop", "--lift", "-c", "region.yaml"]).1, "pool shop: no operator holds it\n");
    let explained = region.told(&["shop", "--aggregator", &url]);
    assert!(!explained.contains("a sale"), "{explained}");
}
