//! The self-test of a plugin: the cases of the `spec.yaml` in its folder, played on a
//! [`stage`](crate::stage) against the code that was just loaded, before anything is served with it.
//! They are those of `forebay plugin test`, with the capabilities and limits of `plugin.yaml`: what
//! a region file grants and configures is not what they are about.
//!
//! Code that serves already is not tested again, whatever has become of its `spec.yaml`.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use config::{Errors, Plugin, Region, manifest, spec};

use crate::plugins::Plugins;
use crate::stage::{Finding, Role, Stage};

/// What the cases of one plugin may take together, in the system's time.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Looked at between calls into the plugin only: one that its limits let run on is left behind
/// after this much more, and ends by them.
const GRACE: Duration = Duration::from_secs(2);

/// Findings that are told of one plugin.
const MOST: usize = 10;

/// What is not as its spec says, of all code in `plugins` that `previous` does not have: an error
/// for each finding. The caller waits; the cases play on threads of their own.
pub fn errors(region: &Region, plugins: &Plugins, previous: Option<&Plugins>) -> Vec<String> {
    let mut fresh: Vec<_> = plugins.fresh(previous).collect();
    fresh.sort_by_key(|(name, _)| *name);
    let mut errors = Vec::new();
    for (name, code) in fresh {
        let Some(plugin) = region.plugins.get(name) else { continue };
        let told = test(plugin, code).into_iter().map(|error| format!("plugin {name:?}: self-test: {error}"));
        errors.extend(told);
    }
    errors
}

/// One plugin; nothing if it has no spec.
fn test(plugin: &Plugin, code: &Arc<dyn abi::Plugin>) -> Vec<String> {
    let Some(file) = plugin.code.folder().map(|folder| folder.join(spec::FILE)).filter(|file| file.is_file()) else {
        return Vec::new();
    };
    let lines = |errors: Errors| errors.iter().map(ToString::to_string).collect();
    let (role, cases) = match (role(plugin), spec::load(&file)) {
        (Ok(role), Ok(cases)) => (role, cases),
        (Err(errors), _) | (_, Err(errors)) => return lines(errors),
    };
    let stage = Stage::new(role).with_code(code.clone()).within(LIMIT);
    let (done, played) = mpsc::channel();
    let place = file.display().to_string();
    let play = move || drop(done.send(play(stage, &cases, &place)));
    if let Err(error) = std::thread::Builder::new().name("self-test".into()).spawn(play) {
        return vec![format!("no thread for it: {error}")];
    }
    let errors = played.recv_timeout(LIMIT + GRACE).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => vec![format!("{}: no end within {:?}", file.display(), LIMIT + GRACE)],
        RecvTimeoutError::Disconnected => vec![format!("{}: its thread panicked: this is our bug", file.display())],
    });
    // What the stage's subscriber wanted to hear is no longer asked of every thread.
    tracing::callsite::rebuild_interest_cache();
    errors
}

/// As its manifest describes it; without one, as the region file does.
fn role(plugin: &Plugin) -> Result<Role, Errors> {
    let code = plugin.code.clone();
    let file = code.folder().map(|folder| folder.join(manifest::FILE)).filter(|file| file.is_file());
    Ok(match file.map(|file| manifest::load(&file)).transpose()? {
        Some(manifest) => {
            let capabilities = manifest.capabilities.into_iter().map(|(capability, _)| capability).collect();
            Role { name: manifest.name, code, capabilities, limits: manifest.limits }
        }
        None => Role { name: plugin.name.clone(), code, capabilities: plugin.capabilities.clone(), limits: None },
    })
}

/// All cases, until their time is over.
fn play(mut stage: Stage, cases: &[spec::Case], file: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut more = 0;
    for case in cases {
        let at = format!("{file}:{}: case {:?}", case.line, case.name);
        if stage.is_over() {
            errors.push(format!("{at}: not played: the time for all cases ({LIMIT:?}) is over"));
            break;
        }
        for Finding { what, expected, found } in stage.play(case).findings {
            match errors.len() < MOST {
                true => errors.push(format!("{at}: {what}: expected {expected}, found {found}")),
                false => more += 1,
            }
        }
    }
    if more > 0 {
        errors.push(format!("{file}: and {more} findings more: `forebay plugin test` shows all"));
    }
    errors
}
