//! `forebay.kv(name)`: the objects, and the plain arguments, are made in the prelude.

use abi::KvAsk;

use super::callout::seconds;
use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};
use crate::vm::Wait;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "kv.get" get;
    "kv.set" set;
    "kv.incr" incr;
    "kv.delete" delete;
    "kv.eval" eval;
};

/// Whole numbers that a Lua number holds exactly.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// `get(store, key)`
fn get(asked: Asked) -> Reply {
    let key = key(&asked, "kv.get")?;
    ask(asked, "kv.get", KvAsk::Get { key })
}

/// `set(store, key, value, ttl or nil)`
fn set(asked: Asked) -> Reply {
    let (key, value) = (key(&asked, "kv.set")?, asked.text(3, "kv.set", "value")?.to_vec());
    let ttl = ttl(&asked, 4, "kv.set")?;
    ask(asked, "kv.set", KvAsk::Set { key, value, ttl })
}

/// `incr(store, key, by, ttl or nil)`
fn incr(asked: Asked) -> Reply {
    let by = asked.number(3, "kv.incr", "by")?;
    if by.fract() != 0.0 || !(-WHOLE..=WHOLE).contains(&by) {
        return Err(
            asked.error(&format!("kv.incr: argument 3 (by) is {by}; allowed: a whole number from -2^53 to 2^53"))
        );
    }
    let (key, ttl) = (key(&asked, "kv.incr")?, ttl(&asked, 4, "kv.incr")?);
    ask(asked, "kv.incr", KvAsk::Incr { key, by: by as i64, ttl })
}

/// `delete(store, key)`
fn delete(asked: Asked) -> Reply {
    let key = key(&asked, "kv.delete")?;
    ask(asked, "kv.delete", KvAsk::Delete { key })
}

/// `eval(store, script, keys, arguments)`, both arrays of strings that the prelude made.
fn eval(asked: Asked) -> Reply {
    let script = asked.text(2, "kv.eval", "script")?.to_vec();
    let mut room = asked.vm.heap.limit();
    let (keys, args) = (texts(&asked, 3, &mut room)?, texts(&asked, 4, &mut room)?);
    ask(asked, "kv.eval", KvAsk::Eval { script, keys, args })
}

fn ask(asked: Asked, function: &str, ask: KvAsk) -> Reply {
    asked.can_wait()?;
    let kv = asked.name(1, function, "store")?;
    match asked.vm.host().kv(kv, ask) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn key(asked: &Asked, function: &str) -> Result<Vec<u8>, Out> {
    Ok(asked.text(2, function, "key")?.to_vec())
}

fn ttl(asked: &Asked, index: i32, function: &str) -> Result<Option<std::time::Duration>, Out> {
    match asked.state.kind(index) {
        Kind::Nil | Kind::None => Ok(None),
        _ => seconds(asked, index, function, "options.ttl").map(Some),
    }
}

/// One string may stand in the array a thousand times; here it is copied each time.
fn texts(asked: &Asked, index: i32, room: &mut usize) -> Result<Vec<Vec<u8>>, Out> {
    let mut all = Vec::new();
    for item in 1..=asked.state.length(index) as i32 {
        asked.state.raw_get_index(index, item);
        let bytes = asked.state.bytes(-1).unwrap_or_default().to_vec();
        asked.state.pop(1);
        *room = room.checked_sub(bytes.len()).ok_or_else(|| asked.out_of_memory())?;
        all.push(bytes);
    }
    Ok(all)
}
