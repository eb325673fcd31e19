//! Commands about plugins.
//!
//! - [`new`]: a plugin to begin with
//! - [`build`]: a Wasm module from a plugin's source
//! - [`test`]: the cases of its `spec.yaml` and its unit tests, on a stage
//! - [`lint`]: what cannot work, found before it is deployed
//!
//! And what these share: [`folder`] (a plugin's folder, read), [`scratch`] (its Lua files beside one
//! of ours), [`diff`] (two texts, held against each other for people).

use std::path::PathBuf;

use clap::Subcommand;

pub mod build;
mod diff;
mod folder;
mod lint;
mod new;
mod scratch;
mod test;

#[derive(Subcommand)]
pub enum Command {
    /// Make a plugin to begin with, which passes its own tests
    ///
    /// Writes plugin.yaml, the code, spec.yaml and a README into a new folder; for Lua also what an
    /// editor needs to know the types of `forebay`.
    New(new::Options),
    /// Build a Wasm plugin from its source, and what that takes, with progress
    Build {
        /// The plugin's folder
        dir: PathBuf,
    },
    /// Test plugins without opening a port; exit 1 if a test fails
    ///
    /// Plays the cases of the plugin's spec.yaml with the host code of production, against
    /// origins, callouts, time and stores that the case describes. A Wasm plugin is built first.
    /// Then runs the unit tests of a Lua plugin: files named *_spec.lua, with describe, it and assert.
    Test(test::Options),
    /// Find what cannot work before it is deployed; exit 1 if there is anything
    ///
    /// In Lua: calls in a phase that refuses them, capabilities that plugin.yaml does not ask for,
    /// undefined globals, names that `forebay` does not have, callbacks that are never called,
    /// errors of syntax. A line with the comment `-- lint: allow` is left alone. In Wasm: imports
    /// that the host does not have, or that need what plugin.yaml does not ask for.
    Lint(lint::Options),
}

/// False if it ran and found what it looks for.
pub fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Build { dir } => {
            let module = build::run(&dir, &mut |line| eprintln!("{line}"))?;
            println!("{}", module.display());
            Ok(true)
        }
        Command::New(options) => new::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Lint(options) => lint::run(&options),
    }
}
