//! What the prelude needs of the host to replace library functions: these are no hostcalls.

use std::ffi::CString;

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::source::MAX_FILE;
use crate::state::{Function, Kind};
use crate::text;
use crate::vm::{NESTING, Stop};

/// The largest table that is made at once, by array and by hash.
const MAX_PRESIZED: f64 = 16_777_216.0;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "find" text::find;
    "match" text::first_match;
    "step" text::step;
    "gsub" text::gsub;
    "fail" |asked| Err(asked.error(&String::from_utf8_lossy(asked.state.bytes(1).unwrap_or_default())));
    "entering" entering;
    "left" left;
    "compile" compile;
    "module" module;
    "tostring_of" tostring_of;
    "frozen" |asked| { asked.state.push_bool(asked.vm.frozen.get()); Ok(1) };
    "afford" afford;
    "refusal" refusal;
    "nkeys" nkeys;
    "new_table" new_table;
    "clear" clear;
};

/// A coroutine is about to be resumed in this one: false if they are nested too deep.
fn entering(asked: Asked) -> Reply {
    let nested = asked.vm.nested.get();
    asked.vm.nested.set(nested + u32::from(nested < NESTING));
    asked.state.push_bool(nested < NESTING);
    Ok(1)
}

/// A coroutine came back: true if it was the host that took it, so that the yield goes up.
fn left(asked: Asked) -> Reply {
    asked.vm.nested.set(asked.vm.nested.get().saturating_sub(1));
    let stop: Option<Stop> = asked.vm.stop.get();
    asked.state.push_bool(stop.is_some());
    Ok(1)
}

/// `compile(text, name, environment or nil)`: the function, or nil and the message.
fn compile(asked: Asked) -> Reply {
    let (source, name) = (asked.text(1, "load", "chunk")?, asked.text(2, "load", "name")?);
    // A library that an operator installed may be of any size; so may what he wrote.
    if source.len() > MAX_FILE && !asked.vm.source.is_trusted() {
        asked.state.push_nil();
        let message = format!("load: the text has {} bytes, it may have {MAX_FILE}", source.len());
        asked.state.push_bytes(message.as_bytes());
        return Ok(2);
    }
    let name: Vec<u8> = name.iter().copied().take_while(|b| *b != 0).collect();
    let name = CString::new(name).expect("cut at the first NUL");
    if !asked.state.compile(source, &name) {
        if let Some(stop @ Stop::Killed(_)) = asked.vm.stop.get() {
            return Err(asked.stop(stop));
        }
        asked.state.push_nil();
        asked.state.insert(-2);
        return Ok(2);
    }
    if asked.state.kind(3) == Kind::Table {
        asked.state.push_copy(3);
        asked.state.set_environment(-2);
    }
    Ok(1)
}

/// `module(name)`: chunk name and text, or nil and why not.
fn module(asked: Asked) -> Reply {
    let name = asked.name(1, "require", "name")?;
    match asked.vm.source.module(name) {
        Ok((file, text)) => {
            asked.state.push_bytes(&text);
            asked.state.push_bytes(format!("={file}").as_bytes());
        }
        Err(why) => {
            asked.state.push_nil();
            asked.state.push_bytes(why.as_bytes());
        }
    }
    Ok(2)
}

/// The `__tostring` of a value, also of one whose metatable is hidden.
fn tostring_of(asked: Asked) -> Reply {
    if !asked.state.metatable(1) {
        return asked.nil();
    }
    asked.state.raw_field(-1, "__tostring");
    Ok(1)
}

/// `afford(bytes)`: ends the script if one value of this size is more than one value may have.
fn afford(asked: Asked) -> Reply {
    let bytes = asked.state.number(1);
    if bytes > asked.vm.heap.piece() as f64 {
        return Err(asked.out_of_memory());
    }
    Ok(0)
}

/// Takes the metatable of refusals from the prelude.
fn refusal(asked: Asked) -> Reply {
    asked.state.set_top(1);
    asked.vm.refusal.set(asked.state.keep());
    Ok(0)
}

/// Ends the script in the middle of a large table, if it must end. Asked for each key: one that collides
/// with all others takes as long as a thousand.
fn look(asked: &Asked) -> Result<(), Out> {
    if asked.vm.kill().is_some() { Err(asked.killed()) } else { Ok(()) }
}

fn nkeys(asked: Asked) -> Reply {
    if asked.state.kind(1) != Kind::Table {
        return Err(asked.wrong(1, "table.nkeys", "table", "a table"));
    }
    let mut keys = 0.0;
    asked.state.push_nil();
    while asked.state.next(1) {
        asked.state.pop(1);
        keys += 1.0;
        look(&asked)?;
    }
    asked.state.push_number(keys);
    Ok(1)
}

/// `new_table(array, hash)`, sizes checked by the prelude. LuaJIT raises past its own limits, which
/// nothing here may: there the sizes are only a hint.
fn new_table(asked: Asked) -> Reply {
    let size = |index| asked.state.number(index).min(MAX_PRESIZED) as i32;
    asked.state.new_table(size(1), size(2));
    Ok(1)
}

fn clear(asked: Asked) -> Reply {
    if asked.state.kind(1) != Kind::Table {
        return Err(asked.wrong(1, "table.clear", "table", "a table"));
    }
    asked.state.push_nil();
    while asked.state.next(1) {
        look(&asked)?;
        asked.state.pop(1);
        asked.state.push_copy(-1);
        asked.state.push_nil();
        asked.state.raw_set(1);
    }
    Ok(0)
}
