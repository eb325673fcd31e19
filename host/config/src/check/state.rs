//! The sections `dicts`, `queues` and `buckets`.

use std::collections::BTreeMap;

use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::state as raw;
use crate::raw::value::List;
use crate::region::{Bucket, Dict, Queue};

pub fn dicts(raw: &List<raw::Dict>, errors: &mut Errors) -> BTreeMap<String, Dict> {
    Names::collect("dictionary", raw, |dict| dict.name.as_ref(), errors);
    let made = |dict: &raw::Dict| Some((dict.name.as_ref()?.0.clone(), Dict { bytes: dict.bytes.bytes() }));
    raw.iter().filter_map(|dict| made(&dict.value)).collect()
}

pub fn buckets(raw: &List<raw::Bucket>) -> BTreeMap<String, Bucket> {
    let made = |bucket: &raw::Bucket| {
        let rate = bucket.rate.as_ref()?.0;
        let burst = bucket.burst.as_ref().map_or(rate, |burst| burst.0);
        let (per, keys) = (bucket.per.0, bucket.keys.0 as usize);
        Some((bucket.name.as_ref()?.0.clone(), Bucket { rate, per, burst, keys }))
    };
    raw.iter().filter_map(|bucket| made(&bucket.value)).collect()
}

pub fn queues(raw: &List<raw::Queue>, errors: &mut Errors) -> BTreeMap<String, Queue> {
    let mut queues = BTreeMap::new();
    for queue in raw.iter() {
        let Some(name) = &queue.name else { continue };
        let made = Queue { items: queue.items.0 as usize, bytes: queue.bytes.bytes() };
        if queues.insert(name.0.clone(), made).is_some() {
            let problem = Problem::found(format!("a second queue \"{}\"", name.0));
            errors.add(&name.place, problem.allowed("allowed: each name once"));
        }
    }
    queues
}
