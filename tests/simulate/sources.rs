//! Recordings from elsewhere: a pool's history, from an aggregator or a file, and a real Prometheus server.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpListener;

use harness::{Folder, PATIENCE, Port, Process, Prometheus, wait_until};
use serde_json::{Value, json};

use crate::{json, named, refused, region, said};

/// 2026-03-02T00:00:00Z, a Monday.
const MONDAY: i64 = 1_772_409_600;

/// A pool's history of three hours by the minute, as the aggregator tells it: 100 requests a second and 3 origins,
/// 10 minutes of which nobody reported, and one minute of which little was.
fn points() -> Vec<Value> {
    let minutes = (0..180).filter(|minute| !(60..70).contains(minute));
    let point = |minute: i64| {
        let at = format!("2026-03-02T{:02}:{:02}:00.000Z", minute / 60, minute % 60);
        let covered = if minute == 100 { 0.2 } else { 1.0 };
        let origins = json!({"booting": 0, "warming": 0, "serving": 3, "draining": 0});
        json!({"at": at, "requests": 100.0, "rejects": 0.0, "errors": 0.0, "cost": 0.0, "covered": covered,
            "origins": origins})
    };
    minutes.map(point).collect()
}

fn history() -> String {
    json!({"pool": "shop", "step": "1m", "step_seconds": 60, "kept": null, "points": points()}).to_string()
}

fn history_csv() -> String {
    let mut text = "time,requests,rejects,errors,cost,covered,booting,warming,serving,draining\n".to_string();
    for point in points() {
        let at = point["at"].as_str().expect("a time").replace(".000Z", "Z");
        let _ = writeln!(text, "{at},100,0,0,0,{},0,0,3,0", point["covered"]);
    }
    text
}

/// Answers one request with `body` as JSON; what was asked.
fn answers(status: &str, body: String) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            asked.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("it reads");
        String::from_utf8_lossy(&asked).into_owned()
    });
    (url, served)
}

#[test]
fn what_a_pool_saw_is_replayed_beside_what_ran() {
    let folder = Folder::new();
    let policy = folder.write("pool.yaml", region(""));
    let (csv, file) = (folder.write("shop.csv", history_csv()), folder.write("shop.json", history()));
    let by_csv = json(&["--history", named(&csv), "--policy", named(&policy)]);
    let outcome = &by_csv["traces"][0];
    let lines = outcome["lines"].as_array().expect("lines");
    assert_eq!(lines.iter().map(|line| &line["policy"]).collect::<Vec<_>>(), ["pool", "as it ran"]);
    // The second half is scored: 3 origins, and 2 are enough for what is carried by two, but none are taken away
    // while nothing is known; the gap and the minute that few reported are nobody's.
    assert_eq!(outcome["gap_hours"], 1.0 / 60.0);
    let cost = |line: &Value| line["cost"].as_f64().expect("a number");
    assert!((cost(&lines[1]) - 3.0 * 89.0 / 60.0).abs() < 1e-6, "{}", cost(&lines[1]));
    assert!((cost(&lines[0]) - 2.0 * 89.0 / 60.0).abs() < 1e-6, "{}", cost(&lines[0]));
    assert_eq!(lines[1]["launches_a_day"], 0.0);
    assert_eq!(json(&["--history", named(&file), "--policy", named(&policy)]), by_csv, "JSON says the same");
    assert_eq!(json(&["--trace", named(&csv), "--policy", named(&policy)]), by_csv, "and it is a recording as others");

    let (url, asked) = answers("200 OK", history());
    let live = json(&["--history", &url, "--policy", named(&policy), "--from", "2026-03-02T00:00:00Z"]);
    assert_eq!(live, by_csv, "and so does who is asked");
    let asked = asked.join().expect("it was asked");
    assert!(asked.starts_with("GET /v1/pools/shop/history?step=1m&from=2026-03-02T00:00:00Z HTTP/1.1\r\n"), "{asked}");
}

#[test]
fn an_aggregator_that_runs_is_asked_and_its_refusal_is_told() {
    let (folder, port) = (Folder::new(), Port::free());
    let text = region("").replace("127.0.0.1:9902", &port.address.to_string());
    let policy = folder.write("pool.yaml", text.replacen("aggregator: {", "aggregator: {journal: d.jsonl, ", 1));
    let _aggregator = Process::start(&["run", "-c", "pool.yaml"], folder.path());
    let url = format!("http://{}", port.address);
    let ask = |pool: &'static str| {
        let arguments = ["--history", &url, "--pool", pool];
        wait_until("an answer", PATIENCE, || {
            let output = crate::simulate(&arguments);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            // 70: nobody answers yet.
            (output.status.code() == Some(64)).then_some(error)
        })
    };
    assert!(ask("shop").contains("the history has no point in that time"), "{}", ask("shop"));
    assert!(ask("shpo").contains("404") && ask("shpo").contains("shop"), "{}", ask("shpo"));
    let error = refused(&["--history", &url]);
    assert!(error.contains("--pool NAME"), "{error}");
    let error = refused(&["--history", "https://host:1", "--policy", named(&policy)]);
    assert!(error.contains("allowed is http://host:port, or a file"), "{error}");
}

/// Nine days by the minute, over 11,000 points, without two hours on the fifth: 80 to 119 requests a second.
fn minutes() -> impl Iterator<Item = (i64, i64)> {
    let gap = 5 * 1440..5 * 1440 + 120;
    (0..9 * 1440).filter(move |minute| !gap.contains(minute)).map(|minute| (minute, 80 + minute / 15 % 40))
}

/// The same in two zones that add up, a counter of 10 a second, and what no demand can be. Three days of the rest.
fn samples() -> String {
    let mut text = "# TYPE load gauge\n".to_string();
    for (minute, rate) in minutes() {
        let _ = writeln!(text, "load{{zone=\"a\"}} {} {}", rate - 30, MONDAY + minute * 60);
    }
    for (minute, _) in minutes() {
        let _ = writeln!(text, "load{{zone=\"b\"}} 30 {}", MONDAY + minute * 60);
    }
    text += "# TYPE requests counter\n";
    for minute in 0..3 * 1440 {
        let _ = writeln!(text, "requests_total {} {}", minute * 600, MONDAY + minute * 60);
    }
    text += "# TYPE odd gauge\n";
    for minute in 0..120 {
        let _ = writeln!(text, "odd {} {}", if minute == 90 { "NaN" } else { "1" }, MONDAY + minute * 60);
    }
    text + "# EOF\n"
}

/// A value at an instant is about the minute before it.
fn as_file() -> String {
    let rows = minutes().map(|(minute, rate)| format!("{},{rate}\n", MONDAY + (minute - 1) * 60));
    "time,rate\n".to_string() + &rows.collect::<String>()
}

#[test]
fn a_query_is_the_recording_that_its_answer_is() {
    let server = Prometheus::with(&samples());
    let folder = Folder::new();
    let policy = folder.write("pool.yaml", region(""));
    let file = folder.write("prometheus.csv", as_file());
    let url = server.url();
    // In pieces, since a server gives 11,000 points at once; the gap is one, and not the last value again.
    let whole = ["--from", "2026-03-01T23:59:00Z", "--to", "2026-03-10T23:59:00Z"];
    let query = ["--prometheus", &url, "--query", "sum(last_over_time(load[30s]))", "--policy", named(&policy)];
    let report = json(&[&query[..], &whole].concat());
    assert_eq!(report["traces"][0]["gap_hours"], 0.0, "it is in the days for learning");
    let later = json(&[&query[..], &whole, &["--learn", "1d"]].concat());
    assert_eq!(later["traces"][0]["gap_hours"], 2.0);
    let filed = ["--trace", named(&file), "--policy", named(&policy)];
    assert_eq!(json(&filed), report);
    assert_eq!(json(&[&filed[..], &["--learn", "1d"]].concat()), later);

    let counted = ["--prometheus", &url, "--query", "rate(requests_total[2m])", "--policy", named(&policy)];
    let counted = json(&[&counted[..], &["--from", "2026-03-02T00:05:00Z", "--to", "2026-03-04T00:00:00Z"]].concat());
    let cost = counted["traces"][0]["lines"][0]["cost"].as_f64().expect("a number");
    let days = counted["traces"][0]["days"].as_f64().expect("a number");
    assert!((cost - days * 48.0).abs() < 1e-6, "the floor is enough for 10 a second: {cost} in {days} days");
}

#[test]
fn a_query_that_is_no_demand_is_refused_with_what_it_answers() {
    let server = Prometheus::with(&samples());
    let url = server.url();
    let ask = |query: &str| {
        refused(&[
            "--prometheus",
            &url,
            "--query",
            query,
            "--from",
            "2026-03-02T00:00:00Z",
            "--to",
            "2026-03-03T00:00:00Z",
        ])
    };
    let several = ask("load");
    assert!(several.contains("answers 2 series, one is needed"), "{several}");
    assert!(several.contains("load{zone=\"a\"}, load{zone=\"b\"}; `sum(…)`"), "{several}");
    let odd = ask("last_over_time(odd[30s])");
    assert!(odd.contains("answers NaN at 2026-03-02T01:30:00Z"), "{odd}");
    assert!(ask("sum(").contains("refuses the query: "), "{}", ask("sum("));
    assert!(ask("nothing").contains("answers nothing from 2026-03-02T00:00:00Z"), "{}", ask("nothing"));
    assert!(ask("-1 * load{zone=\"b\"}").contains("answers -30 at"), "{}", ask("-1 * load{zone=\"b\"}"));
    let reversed = ["--prometheus", &url, "--query", "load", "--from", "-1h", "--to", "-2h"];
    assert!(refused(&reversed).contains("is not after --from"), "{}", refused(&reversed));
}

#[test]
fn who_asks_for_a_password_gets_it_from_a_file() {
    // bcrypt of `test`, at the least cost that there is.
    let server = Prometheus::guarded(&samples(), "ada: $2b$04$abcdefghijklmnopqrstuuoD8yw7MmybLKVooaTGGZAt3HXugv2.a");
    let folder = Folder::new();
    let url = server.url();
    let query = ["--prometheus", &url, "--query", "sum(load)", "--from", "2026-03-02T00:00:00Z"];
    let query = [&query[..], &["--to", "2026-03-04T00:00:00Z"]].concat();
    let (good, bad) = (folder.write("good", "ada:test\n"), folder.write("bad", "ada:guess\n"));
    assert!(refused(&query).contains("401"));
    assert!(refused(&[&query[..], &["--basic-auth", named(&bad)]].concat()).contains("401"));
    assert!(said(&[&query[..], &["--basic-auth", named(&good)]].concat()).starts_with("prometheus: "));
}

#[test]
fn a_token_is_sent_as_it_stands_in_its_file() {
    let folder = Folder::new();
    let token = folder.write("token", "abc.def\n");
    let error = r#"{"status":"error","errorType":"bad_data","error":"not today"}"#;
    let (url, asked) = answers("400 Bad Request", error.to_string());
    let said = refused(&["--prometheus", &url, "--query", "up", "--from", "-1h", "--bearer", named(&token)]);
    assert!(said.contains("refuses the query: not today"), "{said}");
    let asked = asked.join().expect("it was asked");
    assert!(asked.contains("\r\nauthorization: Bearer abc.def\r\n"), "{asked}");
    assert!(asked.starts_with("GET /api/v1/query_range?query=up&start="), "{asked}");
    let empty = folder.write("empty", "\n");
    let said = refused(&["--prometheus", &url, "--query", "up", "--basic-auth", named(&empty)]);
    assert!(said.contains("one line is expected"), "{said}");
}
