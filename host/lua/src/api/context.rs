//! `forebay.property` and `forebay.ctx`.

use abi::{Call, Status};

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::{Function, Kind, State};
use crate::value;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "property.get" property;
    "ctx.get" get;
    "ctx.set" set;
};

/// Bytes of a property's path.
const MAX_PATH: usize = 4 << 10;

/// `get(path)`, segments divided by dots.
fn property(asked: Asked) -> Reply {
    let path = asked.name(1, "property.get", "path")?;
    // A path of nothing but dots would become a list of many times its size.
    if path.len() > MAX_PATH {
        let text = format!("property.get: a path of {} bytes, it may have {MAX_PATH}", path.len());
        return asked.failure(Status::BadArgument.name(), &text);
    }
    let segments: Vec<&str> = path.split('.').collect();
    match asked.vm.host().property(&segments) {
        Ok(value) => {
            value::push(asked.state, &value);
            Ok(1)
        }
        Err(refusal) if refusal.status == Status::NotFound => asked.nil(),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `get(key)`: the plugin's own value, else one that an earlier plugin shared.
fn get(asked: Asked) -> Reply {
    if let Err(refusal) = check(&asked, Call::CtxGet) {
        return asked.refuse(&refusal);
    }
    let key = asked.name(1, "ctx.get", "key")?;
    let locals = asked.vm.asking().locals.get();
    if locals.is_some() {
        asked.state.push_kept(locals);
        asked.state.push_bytes(key.as_bytes());
        asked.state.raw_get(-2);
        if asked.state.kind(-1) != Kind::Nil {
            return Ok(1);
        }
    }
    match asked.vm.host().property(&[key]) {
        Ok(value) => {
            value::push(asked.state, &value);
            Ok(1)
        }
        // Without `property.read` only what is shared is seen, and this is not.
        Err(refusal) if matches!(refusal.status, Status::NotFound | Status::CapabilityDenied) => asked.nil(),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `set(key, value, shared)`
fn set(asked: Asked) -> Reply {
    if let Err(refusal) = check(&asked, Call::CtxSet) {
        return asked.refuse(&refusal);
    }
    let key = asked.name(1, "ctx.set", "key")?;
    let shared = asked.state.truth(3);
    asked.state.set_top(2);
    if shared {
        if !matches!(asked.state.kind(2), Kind::String | Kind::Number) {
            return Err(asked.wrong(2, "ctx.set", "value", "a string, as it is shared"));
        }
        let value = asked.text(2, "ctx.set", "value")?;
        if let Err(refusal) = asked.vm.host().set_property(&[key], value) {
            return asked.refuse(&refusal);
        }
    }
    push_locals(&asked, asked.state);
    asked.state.push_bytes(key.as_bytes());
    asked.state.push_copy(2);
    asked.state.raw_set(-3);
    asked.yes()
}

/// Own values never reach the host, so their phase is checked here.
fn check(asked: &Asked, call: Call) -> abi::Answer<()> {
    let asking = asked.vm.asking();
    call.check(asking.stage.phase(), &asking.host.settings().capabilities)
}

/// The table of the exchange, made on first use.
fn push_locals(asked: &Asked, state: State) {
    let locals = &asked.vm.asking().locals;
    if !locals.get().is_some() {
        state.new_table(0, 4);
        locals.set(state.keep());
    }
    state.push_kept(locals.get());
}
