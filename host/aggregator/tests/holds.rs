//! An operator's hold: over the API, in the record, and over a kill -9.

#[path = "harness.rs"]
mod harness;

use harness::*;
use jiff::Timestamp;
use serde_json::Value;

const SCALING: &str = "stabilisation: 0s, reactive: {requests_per_origin: 10, window: 1s, headroom: 1.0}";
const HOLD: &str = "/v1/pools/shop/hold";

fn ask(victim: &Victim, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = exchange(victim.address, method, path, "");
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Reports so much load until a decision is as asked.
fn decided(edge: &mut Edge, load: u64, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    edge.load = load;
    let mut last = Value::Null;
    for _ in until(std::time::Duration::from_secs(20)) {
        edge.report();
        last = get(edge.aggregator, "/v1/pools/shop/explain").1["decision"].take();
        if is(&last) {
            return last;
        }
    }
    panic!("not reached: {what}; the last is {last}");
}

#[test]
fn a_pool_that_an_operator_holds_grows_and_does_not_shrink_until_it_is_lifted_a_restart_between() {
    let folder = Folder::new("holds");
    let victim = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", victim.address);
    decided(&mut edge, 50, "five", |decision| decision["to"] == 5);
    assert_eq!(ask(&victim, "GET", HOLD).1["hold"], Value::Null);
    let (status, held) = ask(&victim, "PUT", &format!("{HOLD}?because=a%20sale&for=1h"));
    let until = held["hold"]["until"].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, &held["hold"]["because"], &held["hold"]["both_ways"]), (200, &"a sale".into(), &false.into()));
    let ahead = until.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    assert!((3590..=3600).contains(&ahead.as_secs()), "{held}");
    assert!(folder_journal(&folder).contains("\"because\":\"a sale\""), "it is written before it is answered");

    let kept = decided(&mut edge, 5, "fewer to be wanted", |decision| decision["want"] == 1);
    let clamp = &kept["clamps"][0];
    assert_eq!((&kept["to"], &clamp["limit"], &clamp["after"]), (&5.into(), &"operator".into(), &5.into()), "{kept}");
    let told = clamp["because"].as_str().unwrap_or_default();
    assert!(told.starts_with("until 20") && told.ends_with("Z: a sale"), "{told}");
    assert_eq!(kept["operator"], held["hold"], "and whole");
    decided(&mut edge, 70, "seven: up is not delayed", |decision| decision["to"] == 7);
    let (_, pools) = get(victim.address, "/v1/pools");
    assert_eq!(pools["pools"]["shop"]["hold"], held["hold"]);

    victim.kill();
    let victim = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", victim.address);
    assert_eq!(ask(&victim, "GET", HOLD).1["hold"], held["hold"], "it is there before anybody reports");
    let kept = decided(&mut edge, 5, "fewer to be wanted again", |decision| decision["want"] == 1);
    assert_eq!((&kept["to"], &kept["operator"]), (&7.into(), &held["hold"]), "{kept}");
    let (status, lifted) = ask(&victim, "DELETE", HOLD);
    assert_eq!((status, &lifted["hold"]), (200, &Value::Null));
    let freed = decided(&mut edge, 5, "one", |decision| decision["to"] == 1);
    assert!(freed["operator"].is_null() && freed["clamps"].as_array().is_some_and(|all| all.is_empty()), "{freed}");

    // What was lifted stays so.
    victim.kill();
    let victim = Victim::start(&folder.0, SCALING);
    assert_eq!(ask(&victim, "GET", HOLD).1["hold"], Value::Null);
    victim.stop();
}

/// As [`Victim`] names it.
fn folder_journal(folder: &Folder) -> String {
    std::fs::read_to_string(folder.0.join("d.jsonl")).unwrap_or_default()
}

#[test]
fn a_hold_keeps_a_pool_from_growing_too_if_that_is_asked_for_and_ends_by_itself() {
    let folder = Folder::new("both-ways");
    let victim = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", victim.address);
    decided(&mut edge, 30, "three", |decision| decision["to"] == 3);
    assert_eq!(ask(&victim, "PUT", &format!("{HOLD}?because=a%20test&for=6s&both_ways=true")).0, 200);
    decided(&mut edge, 60, "six, once it has ended", |decision| decision["to"] == 6 && decision["operator"].is_null());
    assert_eq!(ask(&victim, "GET", HOLD).1["hold"], Value::Null);
    let journal = folder_journal(&folder);
    let decisions = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["decision"].take());
    let held: Vec<_> = decisions.filter(|decision| decision["operator"].is_object()).collect();
    assert!(!held.is_empty() && held.iter().all(|decision| decision["to"] == 3), "{held:?}");
    victim.stop();
}

#[test]
fn what_is_no_hold_is_refused_and_the_one_that_stands_stays() {
    let folder = Folder::new("no-hold");
    let victim = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", victim.address);
    decided(&mut edge, 10, "a decision", |decision| decision["to"] == 1);
    let (_, held) = ask(&victim, "PUT", &format!("{HOLD}?because=a%20sale&for=1h"));
    for (method, path, status, says) in [
        ("POST", HOLD.to_owned(), 405, "allowed are GET, PUT and DELETE"),
        ("PUT", "/v1/pools/shup/hold?because=x&for=1h".to_owned(), 404, "pool `shup`; run here are: shop"),
        ("GET", "/v1/pools/shup/hold".to_owned(), 404, "pool `shup`"),
        ("DELETE", format!("{HOLD}?for=1h"), 400, "nothing may be asked here"),
        ("PUT", format!("{HOLD}?because=x&for=30d"), 400, "for `30d`; allowed is a time such as 90s"),
        ("PUT", format!("{HOLD}?for=1h"), 400, "because: 0 bytes"),
    ] {
        let (found, body) = ask(&victim, method, &path);
        let detail = body["error"]["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(says), "{method} {path}: {found} {body}");
    }
    assert_eq!(ask(&victim, "GET", HOLD).1["hold"], held["hold"]);
    victim.stop();
}
