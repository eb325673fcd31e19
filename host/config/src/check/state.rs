//! The section `dicts`.

use std::collections::BTreeMap;

use super::names::Names;
use crate::error::Errors;
use crate::raw::state as raw;
use crate::raw::value::List;
use crate::region::Dict;

pub fn dicts(raw: &List<raw::Dict>, errors: &mut Errors) -> BTreeMap<String, Dict> {
    Names::collect("dictionary", raw, |dict| dict.name.as_ref(), errors);
    let made = |dict: &raw::Dict| Some((dict.name.as_ref()?.0.clone(), Dict { bytes: dict.bytes.bytes() }));
    raw.iter().filter_map(|dict| made(&dict.value)).collect()
}
