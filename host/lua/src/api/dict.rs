//! `forebay.dict(name)`: the objects are made in the prelude.

use abi::Status;

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "dict.get" get;
    "dict.set" set;
};

/// `get(dict, key)`: value and version, or nil.
fn get(asked: Asked) -> Reply {
    let (dict, key) = (asked.name(1, "dict.get", "dictionary")?, asked.text(2, "dict.get", "key")?);
    match asked.vm.host().dict_get(dict, key) {
        Ok((value, version)) => {
            asked.state.push_bytes(&value);
            asked.state.push_number(version.into());
            Ok(2)
        }
        Err(refusal) if refusal.status == Status::NotFound => asked.nil(),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `set(dict, key, value or nil, version or nil)`
fn set(asked: Asked) -> Reply {
    let (dict, key) = (asked.name(1, "dict.set", "dictionary")?, asked.text(2, "dict.set", "key")?);
    let value = match asked.state.kind(3) {
        Kind::Nil | Kind::None => None,
        _ => Some(asked.text(3, "dict.set", "value")?),
    };
    let version = version(&asked)?;
    asked.answer(asked.vm.host().dict_set(dict, key, value, version))
}

fn version(asked: &Asked) -> Result<Option<u32>, Out> {
    if matches!(asked.state.kind(4), Kind::Nil | Kind::None) {
        return Ok(None);
    }
    let version = asked.number(4, "dict.set", "version")?;
    if version.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&version) {
        return Err(asked.error(&format!("dict.set: version {version} is none that dict.get gave")));
    }
    Ok(Some(version as u32))
}
