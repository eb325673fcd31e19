//! The sections `dicts` and `buckets`.

use std::collections::BTreeMap;

use super::names::Names;
use crate::error::Errors;
use crate::raw::state as raw;
use crate::raw::value::List;
use crate::region::{Bucket, Dict};

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
