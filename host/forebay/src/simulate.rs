//! `forebay simulate`: what the scaler would have made of a recorded demand.
//!
//! - [`stdio`]: the engine as another simulator's policy

use std::io::{stdin, stdout};

mod stdio;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Answer another program's simulator: one observation a line in, one count of origins a line out
    #[arg(long)]
    stdio: bool,
    /// What a violating request costs, in what serving one costs
    #[arg(long, default_value_t = 80.0)]
    price: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    stdio::serve(options.price, stdin().lock(), stdout().lock())
}
