//! Commands about plugins.
//!
//! - [`build`]: a Wasm module from a plugin's source
//! - [`test`]: the cases of its `spec.yaml`, on a stage
//!
//! And what these share: [`folder`] (a plugin's folder, read), [`diff`] (two texts, held against
//! each other for people).

use std::path::PathBuf;

use clap::Subcommand;

pub mod build;
mod diff;
mod folder;
mod test;

#[derive(Subcommand)]
pub enum Command {
    /// Build a Wasm plugin from its source, and what that takes, with progress
    Build {
        /// The plugin's folder
        dir: PathBuf,
    },
    /// Test plugins without opening a port; exit 1 if a case fails
    ///
    /// Plays the cases of the plugin's spec.yaml with the host code of production, against
    /// origins, callouts, time and stores that the case describes. A Wasm plugin is built first.
    Test(test::Options),
}

/// False if it ran and found what it looks for.
pub fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Build { dir } => {
            let module = build::run(&dir, &mut |line| eprintln!("{line}"))?;
            println!("{}", module.display());
            Ok(true)
        }
        Command::Test(options) => test::run(&options),
    }
}
