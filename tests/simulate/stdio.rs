//! The binary as another simulator's policy, and what it refuses.

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
