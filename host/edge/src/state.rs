//! What plugins of all workers share and an exchange does not end: dictionaries, queues, token
//! buckets and the metrics that they defined.

pub mod metrics;
pub mod named;

use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::{Answer, Refusal, Status};
use config::Region;

use crate::clock;
use crate::dict::Dict;
use crate::instances::room::Room;
use crate::limit::Bucket;
use crate::queue::Queues;
use metrics::Metrics;
use named::Named;

/// Shared by all threads of the edge.
pub struct State {
    /// For instances.
    pub room: Arc<Room>,
    pub dicts: Named<Dict>,
    pub buckets: Named<Bucket>,
    pub queues: Queues,
    pub metrics: Metrics,
    began: Instant,
}

impl Default for State {
    fn default() -> State {
        let (room, dicts, buckets, queues, metrics) = Default::default();
        State { room, dicts, buckets, queues, metrics, began: clock::now() }
    }
}

impl State {
    pub fn new(region: &Region) -> State {
        let state = State::default();
        state.configure(region);
        state
    }

    /// Takes the bounds of a region over; what is held stays.
    pub fn configure(&self, region: &Region) {
        // One that the file has named no longer has the default again.
        for (name, dict) in self.dicts.all().iter() {
            dict.set_most(region.dicts.get(&**name).map_or(config::Dict::BYTES, |spec| spec.bytes));
        }
        for (name, spec) in &region.dicts {
            self.dicts.get_or(name, || Dict::new(spec.bytes));
        }
        self.queues.configure(&region.queues);
        self.metrics.keep(|plugin| region.plugins.contains_key(plugin));
        // One whose terms are others now begins afresh; leases of the old one are settled with it.
        self.buckets.replace(region.buckets.iter().map(|(name, terms)| {
            let known = self.buckets.get(name).filter(|bucket| bucket.terms == *terms);
            (name.as_str().into(), known.unwrap_or_else(|| Arc::new(Bucket::new(name, terms.clone()))))
        }));
    }

    /// Time that only goes forward, since this began: what is held here is told it with each call.
    pub fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    pub fn dict(&self, name: &str) -> Arc<Dict> {
        self.dicts.get_or(name, || Dict::new(config::Dict::BYTES))
    }

    /// A bucket that the configuration names: the check of the file has found it there.
    pub fn bucket(&self, call: &str, name: &str) -> Answer<Arc<Bucket>> {
        self.buckets.get(name).ok_or_else(|| {
            let all = self.buckets.all();
            let mut names: Vec<_> = all.keys().map(|name| &**name).collect();
            names.sort_unstable();
            let text = format!("{call}: no bucket {name:?}; buckets are: {}", names.join(", "));
            Refusal::new(Status::NotFound, text)
        })
    }

    /// Lets go of what is over, and brings counts into the metrics.
    pub fn publish(&self) {
        let now = self.now();
        for (name, dict) in self.dicts.all().iter() {
            dict.sweep(now);
            dict.publish(name);
        }
        self.buckets.all().values().for_each(|bucket| bucket.publish());
        self.queues.publish();
        self.metrics.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(buckets: &str) -> Region {
        let edge = "edge: {name: e, listeners: [{address: \"127.0.0.1:0\"}]}\nroutes: [{name: a, respond: {}}]\n";
        let text = format!("{edge}buckets: [{buckets}]\n");
        config::parse(&text, "region.yaml".as_ref(), "/".as_ref()).unwrap()
    }

    fn left(state: &State, bucket: &str, at: Duration) -> u32 {
        state.bucket("limit.take", bucket).unwrap().take("limit.take", b"k", 0, at).unwrap().remaining
    }

    #[test]
    fn a_reload_keeps_the_fill_of_a_bucket_that_it_does_not_change_and_begins_one_that_it_does() {
        const T0: Duration = Duration::from_secs(100);
        let second = Duration::from_secs(1);
        let same = "{name: same, rate: 1, burst: 10}";
        let state =
            State::new(&region(&format!("{same}, {{name: other, rate: 1, burst: 10}}, {{name: gone, rate: 1}}")));
        for bucket in ["same", "other"] {
            state.bucket("limit.take", bucket).unwrap().take("limit.take", b"k", 10, T0).unwrap();
            assert_eq!(left(&state, bucket, T0), 0);
        }
        // Held across the reload, as an exchange in flight or a lease holds it.
        let (held, old) = (state.bucket("", "same").unwrap(), state.bucket("", "other").unwrap());
        state.configure(&region(&format!(
            "{{name: other, rate: 4, burst: 8}}, {same}, {{name: new, rate: 1, burst: 3}}"
        )));
        assert_eq!((left(&state, "same", T0), left(&state, "same", T0 + 2 * second)), (0, 2), "it fills as before");
        held.give(b"k", 5);
        assert_eq!(left(&state, "same", T0), 5, "what is given back to the one before is there");
        assert_eq!(left(&state, "other", T0), 8, "other terms begin full");
        state.bucket("", "other").unwrap().take("limit.take", b"k", 8, T0).unwrap();
        assert_eq!(left(&state, "other", T0 + second), 4, "at the new rate");
        assert_eq!(old.take("limit.take", b"k", 0, T0 + second).unwrap().remaining, 1, "the old one is its own");
        assert_eq!(left(&state, "new", T0), 3);
        let refused = state.bucket("limit.take", "gone").err().unwrap();
        assert_eq!(refused.status, Status::NotFound);
        assert_eq!(refused.message, "limit.take: no bucket \"gone\"; buckets are: new, other, same");
    }
}
