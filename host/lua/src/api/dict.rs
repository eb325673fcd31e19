//! `forebay.dict(name)`: the objects are made in the prelude, which takes options apart.

use std::time::Duration;

use abi::{Answer, DictIncr, DictWrite, Status};

use super::callout::seconds;
use super::{Asked, EXACT, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "dict.get" get;
    "dict.set" set;
    "dict.add" add;
    "dict.incr" incr;
    "dict.delete" delete;
    "dict.cas" cas;
};

/// `get(dict, key)`: value and version, or nil.
fn get(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.get")?;
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

/// `set(dict, key, value or nil, ttl or nil, version or nil)`
fn set(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.set")?;
    let (ttl, version) = (ttl(&asked, 4, "dict.set")?, version(&asked, 5, "dict.set")?);
    let write = match asked.state.kind(3) {
        Kind::Nil | Kind::None => DictWrite::Delete { version },
        _ => DictWrite::Set { value: asked.text(3, "dict.set", "value")?, ttl, version },
    };
    asked.answer(asked.vm.host().dict_write(dict, key, write))
}

/// `add(dict, key, value, ttl or nil)`
fn add(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.add")?;
    let write = DictWrite::Add { value: asked.text(3, "dict.add", "value")?, ttl: ttl(&asked, 4, "dict.add")? };
    asked.answer(asked.vm.host().dict_write(dict, key, write))
}

/// `incr(dict, key, by, init, ttl or nil)`: the number as it is then.
fn incr(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.incr")?;
    let by = asked.whole(3, "dict.incr", "by", -EXACT, EXACT)? as i64;
    let init = asked.whole(4, "dict.incr", "options.init", -EXACT, EXACT)? as i64;
    let incr = DictIncr { by, init, ttl: ttl(&asked, 5, "dict.incr")? };
    let made: Answer<i64> = asked.vm.host().dict_incr(dict, key, incr);
    match made {
        Ok(number) => {
            asked.state.push_number(number as f64);
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn delete(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.delete")?;
    asked.answer(asked.vm.host().dict_write(dict, key, DictWrite::Delete { version: None }))
}

/// `cas(dict, key, value, version, ttl or nil)`
fn cas(asked: Asked) -> Reply {
    let (dict, key) = place(&asked, "dict.cas")?;
    let value = asked.text(3, "dict.cas", "value")?;
    let Some(version) = version(&asked, 4, "dict.cas")? else {
        return Err(asked.wrong(4, "dict.cas", "version", "a version that dict.get gave"));
    };
    let write = DictWrite::Cas { value, ttl: ttl(&asked, 5, "dict.cas")?, version };
    asked.answer(asked.vm.host().dict_write(dict, key, write))
}

fn place<'a>(asked: &Asked, function: &str) -> Result<(&'a str, &'a [u8]), Out> {
    Ok((asked.name(1, function, "dictionary")?, asked.text(2, function, "key")?))
}

fn ttl(asked: &Asked, index: i32, function: &str) -> Result<Option<Duration>, Out> {
    match asked.state.kind(index) {
        Kind::Nil | Kind::None => Ok(None),
        _ => seconds(asked, index, function, "options.ttl").map(Some),
    }
}

fn version(asked: &Asked, index: i32, function: &str) -> Result<Option<u32>, Out> {
    if matches!(asked.state.kind(index), Kind::Nil | Kind::None) {
        return Ok(None);
    }
    let version = asked.number(index, function, "version")?;
    if version.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&version) {
        return Err(asked.error(&format!("{function}: version {version} is none that dict.get gave")));
    }
    Ok(Some(version as u32))
}
