//! What is tried: pools of region files, as they are or changed on the command line.

use std::path::Path;
use std::sync::Arc;

use config::Region;
use config::region::{Pool, Scaling, ScalingMode, Signal, SignalSource};

use crate::region::{self, Unfit};

/// A pool with its scaling.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The file, without its folder and ending.
    pub name: String,
    pub config: Arc<Region>,
    pub pool: String,
    /// Signals that no recording has, and that are left out.
    unrecorded: Vec<String>,
}

/// What the command line sets in place of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    pub mode: Option<ScalingMode>,
    pub price: Option<f64>,
}

impl Tried {
    pub fn load(file: &Path, pool: Option<&str>, changes: Changes) -> Result<Tried, Unfit> {
        let loaded = region::load(file)?;
        let pool = choose(&loaded, pool).map_err(|problem| Unfit::one(format!("{}: {problem}", file.display())))?;
        let mut config = Region::clone(&loaded);
        config.pools.retain(|name, _| *name == pool);
        let mut unrecorded = Vec::new();
        for shared in config.pools.values_mut() {
            let mut changed = Pool::clone(shared);
            if let Some(scaling) = &mut changed.scaling {
                let requests = |signal: &Signal| matches!(signal.source, SignalSource::Requests { .. });
                let others = scaling.signals.extract_if(.., |signal| !requests(signal));
                unrecorded.extend(others.map(|signal| format!("{} ({})", signal.name, signal.source.name())));
                if scaling.signals.is_empty() && !unrecorded.is_empty() {
                    let (file, all) = (file.display(), unrecorded.join(", "));
                    return Err(Unfit::one(format!(
                        "{file}: only requests are recorded, and pool {pool} goes by {all}"
                    )));
                }
                scaling.mode = changes.mode.unwrap_or(scaling.mode);
                if let (Some(rule), Some(price)) = (&mut scaling.predictive, changes.price) {
                    rule.price = price;
                }
            }
            *shared = Arc::new(changed);
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Tried { name, config: Arc::new(config), pool, unrecorded })
    }

    pub fn pool(&self) -> &Pool {
        &self.config.pools[&self.pool]
    }

    pub fn scaling(&self) -> &Scaling {
        self.pool().scaling.as_ref().expect("only a pool with scaling is chosen")
    }

    /// Requests a second that one origin carries, as the scoring of shadows has it.
    pub fn capacity(&self) -> Option<f64> {
        let Scaling { predictive, .. } = self.scaling();
        let predictive = predictive.as_ref().and_then(|rule| rule.requests_per_origin);
        predictive.or_else(|| self.scaling().requests_per_origin())
    }

    /// Why what is shown may not be what is meant.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let Scaling { mode, predictive, hints, warm_pool, .. } = self.scaling();
        if *mode != ScalingMode::On {
            let what = if *mode == ScalingMode::UpOnly { "nothing is taken away" } else { "the count stands" };
            let name = mode.name();
            notes.push(format!("{}: the mode is {name}, so {what}; `--mode on` shows what it would do", self.name));
        }
        if predictive.as_ref().is_some_and(|rule| rule.shadow) {
            notes.push(format!("{}: the predictive rule is a shadow, and has no say", self.name));
        }
        if !self.unrecorded.is_empty() {
            let all = self.unrecorded.join(", ");
            notes.push(format!("{}: only requests are recorded, so these signals are left out: {all}", self.name));
        }
        if let Some(warm_pool) = warm_pool {
            notes.push(format!(
                "{}: one that waits in the warm pool costs {} of one that serves (`warm_pool.cost`)",
                self.name, warm_pool.cost
            ));
        }
        if hints.is_some() {
            notes.push(format!("{}: plugins gave hints that are not recorded: none is replayed", self.name));
        }
        notes
    }
}

/// The pool that is named, or the only one that is scaled.
fn choose(region: &Region, named: Option<&str>) -> Result<String, String> {
    let scaled: Vec<&str> =
        region.pools.iter().filter(|(_, pool)| pool.scaling.is_some()).map(|(name, _)| name.as_str()).collect();
    match (named, &scaled[..]) {
        (_, []) => Err("no pool has `scaling`".to_string()),
        (None, [only]) => Ok((*only).to_string()),
        (None, several) => Err(format!("several pools have `scaling`, --pool NAME says which: {}", several.join(", "))),
        (Some(name), scaled) if scaled.contains(&name) => Ok(name.to_string()),
        (Some(name), scaled) => {
            let unscaled = if region.pools.contains_key(name) { "has no `scaling`" } else { "is not there" };
            let near = config::error::near_miss(name, scaled.iter().copied());
            let near = near.map_or(String::new(), |near| format!(", perhaps `{near}`"));
            Err(format!("pool `{name}` {unscaled}{near}; those with it: {}", scaled.join(", ")))
        }
    }
}
