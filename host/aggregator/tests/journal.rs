//! The journal over several files: nothing is lost where one ends and the next begins.

#[path = "harness.rs"]
mod harness;

use std::path::Path;
use std::time::Duration;

use aggregator::journal::files;
use config::region::{Actuator, Journal};
use forebay_aggregator as aggregator;
use harness::*;
use jiff::Timestamp;
use serde_json::Value;

/// Decisions on `shop` between 1 and 5 origins, by changing floors.
struct Moves {
    folder: Folder,
    setup: Setup,
    journal: Journal,
}

impl Moves {
    fn new(name: &str, file_bytes: u64, files: u32) -> Moves {
        let folder = Folder::new(name);
        let mut setup = Setup::new(&folder.0);
        setup.scaling.actuator = Actuator::DryRun;
        setup.scaling.ceiling = 100;
        let journal = Journal { path: setup.journal.clone(), file_bytes, files };
        Moves { folder, setup, journal }
    }

    fn region(&self) -> std::sync::Arc<config::Region> {
        let mut region = (*self.setup.region()).clone();
        region.aggregator.as_mut().unwrap().journal = Some(self.journal.clone());
        std::sync::Arc::new(region)
    }

    /// Each floor makes one decision.
    fn walk(&mut self, running: &aggregator::Aggregator, floors: impl Iterator<Item = u32>) {
        for floor in floors {
            self.setup.scaling.floor = floor;
            running.reload(self.region()).unwrap();
            wait_for("the decision", || self.counts().last() == Some(&floor));
        }
    }

    /// What was decided, of all files, without what changed nothing.
    fn counts(&self) -> Vec<u32> {
        counts_in(&self.journal.path)
    }

    fn sizes(&self) -> Vec<u64> {
        let mut paths: Vec<_> = files::full(&self.journal.path).unwrap().into_iter().map(|(_, path)| path).collect();
        paths.push(self.journal.path.clone());
        paths.iter().map(|path| std::fs::metadata(path).unwrap().len()).collect()
    }
}

fn counts_in(path: &Path) -> Vec<u32> {
    let found = files::decisions(path, Some("shop"), Timestamp::MIN, Timestamp::MAX, 10_000).unwrap_or_default();
    let mut counts: Vec<u32> = found.iter().map(|recorded| recorded.decision.to).collect();
    counts.dedup();
    counts
}

/// The most memory that this process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn zeros_that_a_lost_disk_left_in_the_journal_are_passed_over_and_cost_no_memory() {
    const ZEROS: u64 = 96 << 20;
    let mut moves = Moves::new("zeros", 1 << 40, 3);
    moves.setup.scaling.floor = 1;
    let running = aggregator::start(moves.region()).unwrap();
    moves.walk(&running, 1..4);
    running.stop();
    let file = std::fs::OpenOptions::new().write(true).open(&moves.journal.path).unwrap();
    file.set_len(file.metadata().unwrap().len() + ZEROS).unwrap();
    let before = most_memory();
    moves.setup.scaling.floor = 4;
    let running = aggregator::start(moves.region()).unwrap();
    let (status, answer) = get(running.address(), "/v1/pools/shop/explain?at=2001-01-01T00:00:00Z");
    let detail = answer["error"]["detail"].as_str().unwrap_or_default();
    assert!(status == 404 && detail.contains("kept are decisions from"), "{answer}");
    running.stop();
    assert_eq!(moves.counts(), [1, 2, 3, 4], "what stands before them and behind them is read");
    let more = most_memory() - before;
    // Read whole, they would be there twice.
    assert!(more < ZEROS, "{more} bytes more for {ZEROS} of zeros");
}

#[test]
fn a_full_journal_is_put_aside_and_the_oldest_removed() {
    let mut moves = Moves::new("rotates", 4096, 3);
    moves.setup.scaling.floor = 1;
    let running = aggregator::start(moves.region()).unwrap();
    moves.walk(&running, 1..30);
    running.stop();
    let sizes = moves.sizes();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes <= 4096), "{sizes:?}");
    let counts = moves.counts();
    assert!(counts.len() > 3 && counts.len() < 29, "old ones are gone: {counts:?}");
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "none is missing between files: {counts:?}");
    assert_eq!(counts.last(), Some(&29));
}

#[test]
fn a_restart_reads_across_files_and_adopts_what_the_last_decision_said() {
    let mut moves = Moves::new("tail", 4096, 100);
    moves.setup.scaling.floor = 1;
    let running = aggregator::start(moves.region()).unwrap();
    moves.walk(&running, 1..12);
    running.stop();
    // The machine went down between the two steps of a change of files.
    let full = files::full(&moves.journal.path).unwrap();
    let (number, _) = full.last().unwrap();
    std::fs::rename(&moves.journal.path, files::numbered(&moves.journal.path, number + 1)).unwrap();

    let running = aggregator::start(moves.region()).unwrap();
    moves.walk(&running, 12..13);
    let (_, all) = get(running.address(), "/v1/decisions?pool=shop");
    let mut pairs: Vec<_> =
        all["decisions"].as_array().unwrap().iter().map(|d| (d["from"].clone(), d["to"].clone())).collect();
    pairs.retain(|(from, to)| from != to);
    assert_eq!(pairs.len(), 12, "the decisions of all files: {pairs:?}");
    assert_eq!(pairs.last().unwrap(), &(Value::from(11), Value::from(12)));
    running.stop();
    assert_eq!(moves.counts(), (1..13).collect::<Vec<_>>());
}

#[test]
fn a_journal_that_was_moved_away_is_begun_anew() {
    let mut moves = Moves::new("moved", Journal::FILE_BYTES, 8);
    moves.setup.scaling.floor = 1;
    let running = aggregator::start(moves.region()).unwrap();
    moves.walk(&running, 1..3);
    let elsewhere = moves.folder.0.join("elsewhere");
    std::fs::rename(&moves.journal.path, &elsewhere).unwrap();
    moves.walk(&running, 3..4);
    running.stop();
    assert_eq!(moves.counts(), [3]);
    assert_eq!(counts_in(&elsewhere), [1, 2], "what was in it stays");
}

/// Nobody asks for less than a thousandth: records are stamped so.
fn instant(decision: &Value) -> Timestamp {
    decision["at"].as_str().unwrap().parse().unwrap()
}

#[test]
fn what_stood_then_is_answered_from_all_files_and_what_is_not_kept_is_said() {
    let mut moves = Moves::new("then", 4096, 100);
    moves.setup.scaling.floor = 1;
    let running = aggregator::start(moves.region()).unwrap();
    // A reload to the same floor would decide again a millisecond after the first.
    wait_for("the first decision", || moves.counts().last() == Some(&1));
    moves.walk(&running, 2..10);
    let address = running.address();
    let (_, all) = get(address, "/v1/decisions?pool=shop");
    let mut all = all["decisions"].as_array().unwrap().clone();
    all.retain(|decision| decision["from"] != decision["to"]);
    assert_eq!(all.len(), 9);
    for decision in &all {
        for (after, to) in [(0, decision["to"].clone()), (1, decision["to"].clone())] {
            let at = instant(decision) + Duration::from_millis(after);
            let (status, then) = get(address, &format!("/v1/pools/shop/explain?at={at}"));
            assert_eq!((status, &then["decision"]["to"]), (200, &to), "{at}: {then}");
            // Less, if the same was decided again in that millisecond.
            let age = then["decision_age_seconds"].as_f64().unwrap();
            assert!((0.0..=after as f64 / 1000.0).contains(&age), "{at}: {then}");
        }
    }
    let before = instant(&all[0]) - Duration::from_millis(1);
    let ahead = Timestamp::now() + Duration::from_secs(60);
    let (third, fifth) = (instant(&all[2]), instant(&all[4]));
    for (path, status, says) in [
        (
            format!("/v1/pools/shop/explain?at={before}"),
            404,
            format!("kept are decisions from {:.3}", instant(&all[0])),
        ),
        (format!("/v1/pools/shop/explain?at={ahead}"), 400, "lies ahead".to_string()),
        ("/v1/pools/shop/explain?at=noon".to_string(), 400, "allowed is an instant".to_string()),
        ("/v1/pools/shop/explain?when=1".to_string(), 400, "`when`; allowed is at".to_string()),
        ("/v1/pools/shap/explain".to_string(), 404, "run here are: shop".to_string()),
        (format!("/v1/decisions?from={fifth}&to={third}"), 400, "is before from".to_string()),
        ("/v1/decisions?since=1".to_string(), 400, "allowed are pool, from, to and limit".to_string()),
    ] {
        let (found, answer) = get(address, &path);
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(&says), "{path}: {answer}");
    }
    let listed = |query: &str| {
        let (status, answer) = get(address, &format!("/v1/decisions?{query}"));
        assert_eq!(status, 200, "{answer}");
        answer["decisions"].as_array().unwrap().iter().map(|d| d["to"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&format!("pool=shop&from={third}&to={fifth}")), [3, 4, 5], "both ends are in it");
    // That the last change is carried out is a line of its own.
    let latest = listed(&format!("from={third}&limit=2"));
    assert!(latest == [8, 9] || latest == [9, 9], "the latest of it: {latest:?}");
    assert_eq!(listed("limit=1"), [9]);
    running.stop();
}

#[test]
fn the_record_of_a_decision_has_these_names_in_this_order() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decision.json");
    let text = std::fs::read_to_string(golden).unwrap();
    let decision: scaler::Decision = serde_json::from_str(&text).unwrap();
    let written = serde_json::to_string_pretty(&decision).unwrap();
    assert_eq!(written.trim(), text.trim(), "names and their order are promised: add, never rename");
    let page = include_str!("../README.md");
    for name in names(&serde_json::from_str(&text).unwrap()) {
        assert!(page.contains(&format!("`{name}`")), "README.md does not say what `{name}` is");
    }
}

/// The names of all fields, of fields within fields too.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(name, value)| [vec![name.clone()], names(value)].concat()).collect()
        }
        Value::Array(items) => items.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}
