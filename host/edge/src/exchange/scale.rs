//! `scale.hint`: what is of the right form, and whether the pool takes it. And what a policy plugin is
//! asked, and has answered.

use std::cell::RefCell;
use std::sync::Arc;

use abi::{Answer, Refusal, ScaleHint, Status};
use bytes::Bytes;
use config::region::HintKind;

use super::line;
use super::seat::{Home, Seat};
use crate::clock;
use crate::membership::PoolMembers;
use crate::scale::Hint;
use crate::snapshot::Snapshot;

/// More than any pool has, of requests a second.
const MOST_DEMAND: f64 = 1e6;
const MOST_ORIGINS: f64 = 10_000.0;
const MOST_COST: f64 = 1_000.0;

/// Bytes of a reason that are kept.
const MOST_REASON: usize = 300;

/// What a pool's scaling asks a policy plugin, and what it has said since.
#[derive(Default)]
pub struct Asked {
    pub view: RefCell<Bytes>,
    /// The latest that it proposed, or why that was refused: a guest may not look.
    pub said: RefCell<Option<Result<Proposed, String>>>,
}

/// A count of origins, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub origins: u32,
    pub because: String,
}

impl Asked {
    pub(super) fn propose(&self, origins: f64, because: &str) -> Answer<()> {
        // NaN is in no range.
        let said = match (0.0..=MOST_ORIGINS).contains(&origins) {
            true => {
                Ok(Proposed { origins: origins.ceil() as u32, because: line::cut(because, MOST_REASON).into_owned() })
            }
            false => Err(format!("scale.propose: {origins} origins; allowed: a number from 0 to {MOST_ORIGINS}")),
        };
        let refused = said.as_ref().err().cloned();
        *self.said.borrow_mut() = Some(said);
        refused.map_or(Ok(()), |text| Err(bad(text)))
    }
}

/// What one plugin says that a request counts for beyond one.
pub struct Cost {
    pool: Arc<str>,
    plugin: Arc<str>,
    thousandths: i64,
}

impl Seat {
    pub(super) fn hint(&self, pool: &str, hint: &ScaleHint<'_>) -> Answer<()> {
        let kind = kind(hint.kind)?;
        in_range(kind, hint.value)?;
        let snapshot = match &self.home {
            Home::Exchange { exchange, .. } => exchange.snapshot.clone(),
            Home::Plugin { .. } => match self.surroundings.worker() {
                Some(worker) => worker.snapshot(),
                None => return Err(Refusal::new(Status::Unavailable, "scale.hint: no worker runs here")),
            },
        };
        let (members, rule) = takes(&snapshot, pool, kind)?;
        if kind == HintKind::Cost {
            return self.cost(members, hint.value);
        }
        let Some(ttl) = hint.ttl.filter(|ttl| !ttl.is_zero()) else {
            return Err(bad(format!("scale.hint: a hint of kind {} needs a ttl over 0 seconds", kind.name())));
        };
        if hint.due > ttl {
            let text = format!("scale.hint: it is needed in {:?}, when its ttl of {ttl:?} is over", hint.due);
            return Err(bad(text));
        }
        let plugin = &self.bound.settings.plugin;
        let hint = Hint { plugin, kind, value: hint.value, ttl, due: hint.due };
        members.hints.tell(rule, &hint, clock::now())
    }

    /// A request has one cost: what is said again stands in place of what was said.
    fn cost(&self, members: &Arc<PoolMembers>, value: f64) -> Answer<()> {
        let Home::Exchange { exchange, .. } = &self.home else {
            return Err(bad("scale.hint: a cost is that of a request, and there is no exchange here".to_owned()));
        };
        let plugin = &self.bound.settings.plugin;
        let thousandths = (value * 1e3).round() as i64 - 1_000;
        let mut costs = exchange.costs.borrow_mut();
        let said = costs.iter_mut().find(|cost| cost.pool == members.name && cost.plugin == *plugin);
        let before = match said {
            Some(cost) => std::mem::replace(&mut cost.thousandths, thousandths),
            None => {
                costs.push(Cost { pool: members.name.clone(), plugin: plugin.clone(), thousandths });
                0
            }
        };
        if thousandths != before {
            members.hints.cost(plugin, thousandths - before);
        }
        Ok(())
    }
}

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}

fn kind(name: &str) -> Answer<HintKind> {
    HintKind::parse(name).ok_or_else(|| {
        let known = HintKind::ALL.map(HintKind::name);
        let near = config::error::near_miss(name, known);
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        bad(format!("scale.hint: no kind {name:?}; kinds are: {}{near}", known.join(", ")))
    })
}

fn in_range(kind: HintKind, value: f64) -> Answer<()> {
    let (most, whole) = match kind {
        HintKind::Demand => (MOST_DEMAND, false),
        HintKind::Cost => (MOST_COST, false),
        HintKind::Prewarm => (MOST_ORIGINS, true),
        HintKind::Hold => (1.0, true),
    };
    if (0.0..=most).contains(&value) && (!whole || value.fract() == 0.0) {
        return Ok(());
    }
    let what = if whole { "a whole number" } else { "a number" };
    Err(bad(format!("scale.hint: {} {value}; allowed: {what} from 0 to {most}", kind.name())))
}

/// The pool and its rule, if it takes hints of this kind.
fn takes<'a>(
    snapshot: &'a Snapshot,
    pool: &str,
    kind: HintKind,
) -> Answer<(&'a Arc<PoolMembers>, &'a config::region::Hints)> {
    let (Some(members), Some(spec)) = (snapshot.members.get(pool), snapshot.pools.get(pool)) else {
        let pools: Vec<_> = snapshot.region.pools.keys().map(String::as_str).collect();
        let near = config::error::near_miss(pool, pools.iter().copied());
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        return Err(bad(format!("scale.hint: no pool {pool:?}; pools are: {}{near}", pools.join(", "))));
    };
    let denied = |text: String| Refusal::new(Status::CapabilityDenied, text);
    let Some(rule) = spec.scaling.as_ref().and_then(|scaling| scaling.hints.as_ref()) else {
        return Err(denied(format!("scale.hint: pool {pool:?} takes no hints: its scaling has no \"hints\"")));
    };
    if !rule.kinds.contains(&kind) {
        let kinds: Vec<_> = rule.kinds.iter().map(|kind| kind.name()).collect();
        let text =
            format!("scale.hint: pool {pool:?} takes no hint of kind {}, only: {}", kind.name(), kinds.join(", "));
        return Err(denied(text));
    }
    if snapshot.region.edge.as_ref().is_none_or(|edge| edge.aggregators.is_empty()) {
        let text = "scale.hint: this edge reports to no aggregator, so there is nobody to hint to";
        return Err(Refusal::new(Status::Unavailable, text));
    }
    Ok((members, rule))
}
