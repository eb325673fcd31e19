//! Commands about plugins.
//!
//! - [`new`]: a plugin to begin with
//! - [`build`]: a Wasm module from a plugin's source
//! - [`test`]: the cases of its `spec.yaml` and its unit tests, on a stage
//! - [`lint`]: what cannot work, found before it is deployed
//! - [`run`](mod@run): serves it while it is written
//! - [`bench`]: what it costs
//!
//! And what these share: [`folder`] (a plugin's folder, read), [`scratch`] (its Lua files beside one
//! of ours), [`diff`] (two texts, held against each other for people).

use std::path::PathBuf;

use clap::Subcommand;

mod bench;
pub mod build;
mod diff;
mod folder;
mod lint;
mod new;
mod run;
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
    /// Serve a plugin while it is written, reloading it when a file is saved
    ///
    /// The reload is that of production, but for the cases of spec.yaml, which need not hold yet: a
    /// version that does not start is refused. What is wrong is
    /// shown on the request that met it, with the traceback and the lines of the source; what the
    /// plugin logs is printed here.
    Run(run::Options),
    /// Measure what each callback costs: CPU time, hostcalls, memory
    ///
    /// Plays a case of spec.yaml many times on the stage of `test`, and prints for each callback the
    /// CPU time of the worker's thread (median and 99th percentile, the clock's own cost taken off),
    /// the hostcalls that are checked against a capability or phase, and what was allocated.
    Bench(bench::Options),
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
        Command::Run(options) => run::run(&options),
        Command::Bench(options) => bench::run(&options),
    }
}
