//! An aggregator for tests that kill it: says its address in one line, and runs until it is ended
//! or its standard input is.
//!
//! `forebay-test-aggregator REGION_FILE`

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

fn main() {
    let file = std::env::args().nth(1).expect("REGION_FILE");
    let region = match config::load(Path::new(&file)) {
        Ok(region) => region,
        Err(errors) => panic!("{errors}"),
    };
    let aggregator = forebay_aggregator::start(Arc::new(region)).expect("it starts");
    println!("{}", aggregator.address());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    aggregator.stop();
}
