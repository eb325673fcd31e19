//! What plugins ask of the scaling of one pool, on this edge: kept until its time is over, and sent
//! with every report meanwhile. The aggregator weighs it; nothing here decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use abi::{Answer, Refusal, Status};
use config::region::HintKind;

/// Of one pool, on all workers. The lock is held for one look into a small map.
#[derive(Debug, Default)]
pub struct Hints {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// By plugin and kind: the last word stands.
    standing: BTreeMap<(Arc<str>, HintKind), Standing>,
    /// By plugin, in thousandths of a request, ever since: reports take differences.
    costs: BTreeMap<Arc<str>, i64>,
    /// By plugin: the second that counts, and how many hints came in it.
    counted: BTreeMap<Arc<str>, (Instant, u32)>,
}

#[derive(Debug)]
struct Standing {
    value: f64,
    until: Instant,
    due: Instant,
}

/// A hint that is of the right form.
pub struct Hint<'a> {
    pub plugin: &'a Arc<str>,
    pub kind: HintKind,
    /// 0 takes back what was asked before.
    pub value: f64,
    pub ttl: Duration,
    /// From now until it is needed.
    pub due: Duration,
}

impl Hints {
    /// Takes a hint other than a cost, no longer than the pool's rule lets it stand.
    pub fn tell(&self, rule: &config::region::Hints, hint: &Hint<'_>, now: Instant) -> Answer<()> {
        let mut told = lock(&self.told);
        let (since, count) = told.counted.entry(hint.plugin.clone()).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        if *count >= rule.per_second {
            let text =
                format!("scale.hint: more than {} hints in a second (scaling.hints.per_second)", rule.per_second);
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        *count += 1;
        let key = (hint.plugin.clone(), hint.kind);
        if hint.value == 0.0 {
            told.standing.remove(&key);
        } else {
            let until = now + hint.ttl.min(rule.longest);
            told.standing.insert(key, Standing { value: hint.value, until, due: now + hint.due });
        }
        Ok(())
    }

    /// Adds thousandths of a request to what the requests of the pool count for.
    pub fn cost(&self, plugin: &Arc<str>, thousandths: i64) {
        let mut told = lock(&self.told);
        let cost = told.costs.entry(plugin.clone()).or_default();
        *cost = cost.wrapping_add(thousandths);
    }

    /// What stands, as a report says it.
    pub fn standing(&self, now: Instant) -> Vec<wire::Hint> {
        let mut told = lock(&self.told);
        told.standing.retain(|_, hint| hint.until > now);
        let hint = |((plugin, kind), hint): (&(Arc<str>, HintKind), &Standing)| wire::Hint {
            plugin: plugin.to_string(),
            kind: kind.name().to_owned(),
            value: hint.value,
            ttl_ms: millis(hint.until.saturating_duration_since(now)).max(1),
            due_ms: millis(hint.due.saturating_duration_since(now)),
        };
        told.standing.iter().map(hint).collect()
    }

    /// By plugin, in thousandths, ever since.
    pub fn costs(&self) -> BTreeMap<Arc<str>, i64> {
        lock(&self.told).costs.clone()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing that holds the lock can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> config::region::Hints {
        let longest = Duration::from_secs(60);
        config::region::Hints { kinds: HintKind::ALL.to_vec(), add: 2, longest, per_second: 2 }
    }

    fn tell(hints: &Hints, kind: HintKind, value: f64, ttl: u64, now: Instant) -> Answer<()> {
        let plugin = Arc::from("p");
        let hint = Hint { plugin: &plugin, kind, value, ttl: Duration::from_secs(ttl), due: Duration::from_secs(5) };
        hints.tell(&rule(), &hint, now)
    }

    #[test]
    fn the_last_word_stands_until_its_time_is_over_or_it_is_taken_back() {
        let (hints, now) = (Hints::default(), Instant::now());
        tell(&hints, HintKind::Prewarm, 2.0, 30, now).unwrap();
        tell(&hints, HintKind::Prewarm, 3.0, 3_600, now).unwrap();
        let told = hints.standing(now + Duration::from_secs(1));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].value, told[0].ttl_ms, told[0].due_ms), (3.0, 59_000, 4_000), "no longer than the longest");
        assert_eq!(hints.standing(now + Duration::from_secs(60)), []);
        let later = now + Duration::from_secs(2);
        tell(&hints, HintKind::Hold, 1.0, 30, later).unwrap();
        tell(&hints, HintKind::Hold, 0.0, 30, later).unwrap();
        assert_eq!(hints.standing(later), []);
    }

    #[test]
    fn more_hints_in_a_second_than_are_allowed_are_refused_and_change_nothing() {
        let (hints, now) = (Hints::default(), Instant::now());
        (1..=2).for_each(|n| tell(&hints, HintKind::Demand, f64::from(n), 30, now).unwrap());
        let refusal = tell(&hints, HintKind::Demand, 9.0, 30, now + Duration::from_millis(999)).unwrap_err();
        assert_eq!(refusal.status, Status::LimitExceeded);
        assert_eq!(hints.standing(now)[0].value, 2.0);
        tell(&hints, HintKind::Demand, 9.0, 30, now + Duration::from_secs(1)).unwrap();
        assert_eq!(hints.standing(now)[0].value, 9.0);
    }
}
