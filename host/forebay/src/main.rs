//! The one binary and its command line. It wires the crates and decides nothing.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod origin;
mod span;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A programmable edge, and the aggregator that has origins warm before the demand is there
#[derive(Parser)]
#[command(name = "forebay", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// An HTTP origin with a boot delay, a service time and a capacity that it really holds to
    Origin(origin::Options),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Origin(options) => origin::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay: {error:#}");
            ExitCode::from(70)
        }
    }
}
