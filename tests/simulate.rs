//! `forebay simulate`: the binary as another simulator's policy, and what it refuses.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use harness::binary::forebay;

/// Feeds all of `lines` and waits for the end.
fn stdio(lines: &str) -> Output {
    let mut child = Command::new(forebay())
        .args(["simulate", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("forebay starts");
    // It may have refused a line and gone before all of them are written.
    let _ = child.stdin.take().expect("it is piped").write_all(lines.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn each_observation_is_answered_before_the_next_is_asked_for() {
    let mut child = Command::new(forebay())
        .args(["simulate", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("forebay starts");
    let mut input = child.stdin.take().expect("it is piped");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    writeln!(input, "hello 15 180 60 60 1").expect("it reads");
    let mut answers = Vec::new();
    for (step, demand) in [0.0, 10.0, 10.0, 20.0, 20.0].into_iter().enumerate() {
        writeln!(input, "{step} {demand:.6} 7 7").expect("it reads");
        let mut line = String::new();
        output.read_line(&mut line).expect("it answers");
        answers.push(line.trim().parse::<u32>().expect("one number"));
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
    // Nothing seen: as it stands. Then the level of 30 s with the headroom of a cold start.
    assert_eq!(answers, [7, 13, 13, 20, 26]);
}

#[test]
fn a_step_asked_twice_is_answered_the_same_and_one_left_out_is_a_gap() {
    let said = stdio("hello 15 180 60 60 1\n0 0 5 5\n1 10 5 5\n1 10 5 5\n4 10 5 5\n");
    assert!(said.status.success());
    assert_eq!(String::from_utf8_lossy(&said.stdout), "5\n13\n13\n13\n");
}

#[test]
fn what_is_no_observation_is_refused_by_its_line() {
    let cases = [
        ("1 2 3 4\n", "stdin:1: `hello STEP BOOT WARM DRAIN FLOOR` comes first"),
        ("hello 15 180\n", "has 5 numbers, not 2"),
        ("hello 15 180 60 60 x\n", "floor: whole and not under 0, not `x`"),
        ("hello 0 180 60 60 1\n", "step: seconds from 1"),
        ("hello 15 180 60 60 1\n0 0 5\n", "stdin:2: `STEP_NUMBER DEMAND READY TOTAL` expected, not `0 0 5`"),
        ("hello 15 180 60 60 1\n0 NaN 5 5\n", "demand is a number not under 0, not `NaN`"),
        ("hello 15 180 60 60 1\n0 -1 5 5\n", "demand is a number not under 0, not `-1`"),
        ("hello 15 180 60 60 1\n5 1 5 5\n4 1 5 5\n", "stdin:3: step 4 after step 5"),
        ("hello 15 180 60 60 1\n1 1 5 5\n99999999 1 5 5\n", "leaves out 99999998 steps"),
    ];
    for (lines, problem) in cases {
        let said = stdio(lines);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(64), "{lines:?}: {errors}");
        assert!(errors.contains(problem), "{lines:?}: {errors}");
    }
}

fn simulate(arguments: &[&str]) -> Output {
    Command::new(forebay()).arg("simulate").args(arguments).output().expect("forebay starts")
}

/// The file of a trace that is in the repository.
fn recorded(name: &str) -> String {
    harness::binary::root().join("tests/traces").join(name).display().to_string()
}

#[test]
fn a_recorded_demand_is_scored_beside_other_autoscalers() {
    let file = recorded("llm-large-req.csv.gz");
    let arguments = ["--trace", &file, "--against", "hpa:50,tt:50,static", "--out", "json"];
    let said = simulate(&arguments);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(said.stderr, b"", "progress is for terminals");
    let report: serde_json::Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
    let lines = report["traces"][0]["lines"].as_array().expect("lines");
    let policies: Vec<_> = lines.iter().filter_map(|line| line["policy"].as_str()).collect();
    assert_eq!(policies, ["forebay", "hpa:50", "tt:50", "static:100"]);
    let of = |at: usize, key: &str| lines[at][key].as_f64().expect("a number");
    // The independent simulator has 1.231 for its own policy, and these for the others.
    assert!((1.0..1.26).contains(&of(0, "price_ratio")), "{}", of(0, "price_ratio"));
    let reference = std::fs::read_to_string(recorded("reference.json")).expect("it is there");
    let reference: serde_json::Value = serde_json::from_str(&reference).expect("it is JSON");
    let theirs = reference["llm-large-req"]["peers"]["hpa-rps@0.5"]["cost"].as_f64().expect("a number");
    assert!((of(1, "cost") / theirs - 1.0).abs() < 1e-6, "{} and {theirs}", of(1, "cost"));
    assert_eq!(report["all"].as_array().map(Vec::len), Some(4));
    assert_eq!(simulate(&arguments).stdout, said.stdout, "the same again");
}

#[test]
fn plain_text_is_read_as_gzip_is_and_shown_as_a_table() {
    let folder = std::env::temp_dir().join(format!("forebay-simulate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("waves.csv");
    let mut text = "t_seconds,value\n".to_string();
    for minute in 0..8 * 1440 {
        let value = 100 + 50 * u32::from(minute / 360 % 2 == 0);
        text.push_str(&format!("{},{value}\n", minute * 60));
    }
    std::fs::write(&file, text).expect("it is written");
    let said =
        simulate(&["--trace", &file.display().to_string(), "--against", "kpa:70", "--boot", "1m", "--warm", "0"]);
    let table = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(table.starts_with("waves: 1.0 days scored"), "{table}");
    assert!(table.contains("\n  forebay ") && table.contains("\n  kpa:70 ") && table.contains("J(100)"), "{table}");
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn a_file_that_is_no_trace_is_refused_with_its_line() {
    let folder = std::env::temp_dir().join(format!("forebay-simulate-bad-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let cases: [(&str, &[u8], &str); 8] = [
        ("empty.csv", b"", "empty.csv: is empty"),
        ("header.csv", b"time,load\n0,1\n", "header.csv:1: the first line is `t_seconds,value`, not `time,load`"),
        ("word.csv", b"t_seconds,value\n0,1\n60,many\n", "word.csv:3: two numbers"),
        ("negative.csv", b"t_seconds,value\n0,-1\n", "negative.csv:2: two numbers, seconds and a count not under 0"),
        ("gap.csv", b"t_seconds,value\n0,1\n120,1\n", "gap.csv:3: a row each 60 s: 120 does not follow 0"),
        ("short.csv", b"t_seconds,value\n0,1\n60,1\n", "short.csv: 0.0 days, of which the first 7 are for learning"),
        ("cut.csv.gz", &[0x1f, 0x8b, 8, 0, 0], "cut.csv.gz: looks like gzip, but"),
        ("bytes.csv", &[0xff, 0xfe, 0], "bytes.csv: neither text nor gzip"),
    ];
    let mut all = vec!["--trace".to_string(), folder.join("missing.csv").display().to_string()];
    for (name, bytes, _) in cases {
        std::fs::write(folder.join(name), bytes).expect("it is written");
        all.push(folder.join(name).display().to_string());
    }
    let said = simulate(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(64), "{errors}");
    assert!(errors.contains("missing.csv: No such file"), "{errors}");
    for (name, _, problem) in cases {
        assert!(errors.contains(problem), "{name}: no {problem:?} in\n{errors}");
    }
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn options_that_cannot_be_meant_are_refused_with_what_can() {
    let file = recorded("llm-large-req.csv.gz");
    let cases: [(&[&str], &str); 6] = [
        (&[], "--trace"),
        (&["--stdio", "--trace", "a"], "cannot be used with"),
        (&["--trace", &file, "--against", "hap:50"], "no autoscaler is called `hap`"),
        (&["--trace", &file, "--price", "0"], "from 0.1 to 1000000, not `0`"),
        (&["--trace", &file, "--boot", "soon"], "not `soon`"),
        (&["--trace", &file, "--out", "xml"], "possible values: table, json"),
    ];
    for (arguments, problem) in cases {
        let said = simulate(arguments);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(64), "{arguments:?}: {errors}");
        assert!(errors.contains(problem), "{arguments:?}: {errors}");
    }
}
