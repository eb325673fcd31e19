//! Recorded demand, and what an independent simulator made of it (`tests/traces`).
#![allow(dead_code)] // Each suite takes its part.

use std::io::Read;
use std::path::PathBuf;

use forebay_scaler::replay::trace;
use serde_json::Value;

pub const NAMES: [&str; 3] = ["elb-requests", "flights-feb", "llm-large-req"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces").join(name)
}

/// Demand by 15 s, in origins, 12 of them on average.
pub fn demand(name: &str) -> Vec<f64> {
    let packed = std::fs::File::open(file(&format!("{name}.csv.gz"))).expect("the trace is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("it is gzip");
    let count = |line: &str| line.split_once(',').expect("two columns").1.parse().expect("a number");
    let counts: Vec<f64> = text.lines().skip(1).map(count).collect();
    trace::demand(&counts, 15.0, 12.0)
}

pub fn reference(name: &str) -> Value {
    let text = std::fs::read_to_string(file("reference.json")).expect("it is there");
    let all: Value = serde_json::from_str(&text).expect("it is JSON");
    all[name].clone()
}

/// Equal but for rounding.
#[track_caller]
pub fn near(found: f64, expected: f64, what: &str) {
    let off = (found - expected).abs();
    assert!(off <= 1e-6 * expected.abs().max(1e-3), "{what}: {found}, the reference has {expected}");
}

/// SplitMix64, as a number from 0 to 1.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}
