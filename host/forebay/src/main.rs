//! The one binary and its command line. It wires the crates and decides nothing.
//!
//! - [`run`]: serves what a region file says; reload and drain
//! - [`check`]: `check` and `schema`
//! - [`quickstart`]: the whole idea in one minute
//! - [`origin`]: an origin whose limits are known
//! - [`plugin`]: builds and tests plugins
//! - [`explain`]: why a pool has as many origins as it has, now or then
//! - [`hold`]: an operator keeps a pool from shrinking for a while
//! - [`simulate`]: what the scaler, and others, would have made of a recorded demand
//!
//! And what these share: [`region`] (the file, or what makes it unfit), [`running`] (edge and
//! aggregator), [`logging`], [`span`] and [`moment`] (durations and instants as
//! arguments), [`ask`] (one request).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod ask;
mod check;
mod explain;
mod hold;
mod logging;
mod moment;
mod origin;
mod plugin;
mod quickstart;
mod region;
mod run;
mod running;
mod scripts;
mod simulate;
mod span;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was looked for was found: a test that fails, a line that cannot work.
const FOUND: u8 = 1;
/// The file or the command line is wrong (`EX_USAGE`).
const UNFIT: u8 = 64;
/// Something of ours failed (`EX_SOFTWARE`).
const INTERNAL: u8 = 70;

/// A programmable edge, and the aggregator that has origins warm before the demand is there
#[derive(Parser)]
#[command(name = "forebay", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve what a region file says: an edge, an aggregator or both
    Run {
        /// The region file
        #[arg(short, long)]
        config: PathBuf,
    },
    /// Validate a region file and the plugins that it names; exit 64 with every error at once
    Check {
        /// The region file
        file: PathBuf,
    },
    /// Print the JSON Schema of region files
    Schema,
    /// See it work: plugins on real requests, and origins warm before a known peak
    Quickstart(quickstart::Options),
    /// Work on plugins: begin, build, test, lint, run and measure them
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// An HTTP origin with a boot delay, a service time and a capacity that it really holds to
    Origin(origin::Options),
    /// Say why a pool has as many origins as it has, now or then
    Explain(explain::Options),
    /// Keep a pool from shrinking for a while, and say why; show that, or take it back
    Hold(hold::Options),
    /// What a pool's rules, and other autoscalers, would have made of a recorded demand
    Simulate(Box<simulate::Options>),
}

fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command,
        Err(help) => {
            let _ = help.print();
            return ExitCode::from(if help.use_stderr() { UNFIT } else { 0 });
        }
    };
    let outcome = match command {
        Command::Run { config } => run::run(&config).map(|()| true),
        Command::Check { file } => check::check(&file).map(|()| true),
        Command::Schema => check::schema().map(|()| true),
        Command::Quickstart(options) => quickstart::run(options).map(|()| true),
        Command::Plugin(command) => plugin::run(command),
        Command::Origin(options) => origin::run(options).map(|()| true),
        Command::Explain(options) => explain::run(&options).map(|()| true),
        Command::Hold(options) => hold::run(&options).map(|()| true),
        Command::Simulate(options) => simulate::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FOUND),
        Err(error) => match error.downcast_ref::<region::Unfit>() {
            Some(unfit) => {
                eprintln!("{unfit}");
                ExitCode::from(UNFIT)
            }
            None => {
                eprintln!("forebay: {error:#}");
                ExitCode::from(INTERNAL)
            }
        },
    }
}
