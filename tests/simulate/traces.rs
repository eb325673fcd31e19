//! Recorded demand in files: scored, and refused.

use crate::{recorded, simulate};

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
    assert!(
        table.contains("\n  forebay ")
            && table.contains("\n  kpa:70 ")
            && table.contains("clairvoyant: origin-hours")
            && table.contains("J(100)"),
        "{table}"
    );
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn a_file_that_is_no_trace_is_refused_with_its_line() {
    let folder = std::env::temp_dir().join(format!("forebay-simulate-bad-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let cases: [(&str, &[u8], &str); 16] = [
        ("empty.csv", b"", "empty.csv: is empty"),
        ("rows.csv", b"time,rate\n", "rows.csv: is empty: no row follows the header"),
        ("header.csv", b"time,load\n0,1\n", "header.csv:1: the first line is `t_seconds,value`, not `time,load`"),
        ("word.csv", b"t_seconds,value\n0,1\n60,many\n", "word.csv:3: a time and a number not under 0"),
        (
            "negative.csv",
            b"t_seconds,value\n0,-1\n",
            "negative.csv:2: a time and a number not under 0 are needed, not `0,-1`",
        ),
        ("grid.csv", b"t_seconds,value\n0,1\n60,1\n150,1\n", "grid.csv:4: a row each 60 s: 150 is none of those"),
        ("back.csv", b"t_seconds,value\n60,1\n0,1\n", "back.csv:3: times go up: 0 does not follow 60"),
        ("odd.csv", b"t_seconds,value\n0,1\n7,1\n", "odd.csv:3: a row each 7 s; allowed are 1, 3, 5 and 15 s"),
        ("zero.csv", b"t_seconds,value\n0,0\n60,0\n", "zero.csv: no demand at all"),
        ("long.csv", b"t_seconds,value\n0,1\n60,1\n99999999960,1\n", "long.csv: more than ten years"),
        ("time.csv", b"time,rate\nnoon,1\n", "time.csv:2: a time and a number"),
        ("lines.jsonl", b"{\"time\": 0, \"rate\": 1}\n{\"time\": 60, \"rate\": -1}\n", "lines.jsonl:2: a number not"),
        ("keys.jsonl", b"{\"at\": 0}\n", "keys.jsonl:1: an object with a time and a value"),
        ("points.json", b"{\"points\": [{}]}", "points.json: is no history of a pool"),
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
    let cases: [(&[&str], &str); 13] = [
        (&[], "--trace"),
        (&["--stdio", "--trace", "a"], "cannot be used with"),
        (&["--trace", &file, "--against", "hap:50"], "no autoscaler is called `hap`, perhaps `hpa`"),
        (&["--trace", &file, "--price", "0"], "from 0.1 to 1000000, not `0`"),
        (&["--trace", &file, "--boot", "soon"], "not `soon`"),
        (&["--trace", &file, "--out", "explain"], "--out explain tells a policy's decisions"),
        (&["--trace", &file, "--from", "-7d"], "--from and --to are for"),
        (&["--trace", &file, &file, "--html", "x.html"], "--html is about one recording"),
        (&["--trace", &file, "--mode", "on"], "--policy <FILE>"),
        (&["--prometheus", "http://127.0.0.1:1"], "--query <PROMQL>"),
        (&["--prometheus", "http://127.0.0.1:1", "--query", "x", "--step", "7s"], "multiple of 15s up to 1h, not `7s`"),
        (&["--trace", &file, "--learn", "30d"], "of which 30.0 are for learning"),
        (&["--trace", &file, "--out", "xml"], "possible values: table, json, explain"),
    ];
    for (arguments, problem) in cases {
        let said = simulate(arguments);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(64), "{arguments:?}: {errors}");
        assert!(errors.contains(problem), "{arguments:?}: {errors}");
    }
}
