//! `forebay.request.headers`, `.trailers`, and the same of the response. The hot path: these are
//! what the script calls, without a wrapper.

use abi::hostcall::HeaderOp;
use abi::{Map, Refusal, Status};

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "request.headers.get" get::<0>;
    "request.headers.get_all" get_all::<0>;
    "request.headers.pairs" all::<0>;
    "request.headers.set" set::<0>;
    "request.headers.add" add::<0>;
    "request.headers.remove" remove::<0>;
    "request.trailers.get" get::<1>;
    "request.trailers.get_all" get_all::<1>;
    "request.trailers.pairs" all::<1>;
    "request.trailers.set" set::<1>;
    "request.trailers.add" add::<1>;
    "request.trailers.remove" remove::<1>;
    "response.headers.get" get::<2>;
    "response.headers.get_all" get_all::<2>;
    "response.headers.pairs" all::<2>;
    "response.headers.set" set::<2>;
    "response.headers.add" add::<2>;
    "response.headers.remove" remove::<2>;
    "response.trailers.get" get::<3>;
    "response.trailers.get_all" get_all::<3>;
    "response.trailers.pairs" all::<3>;
    "response.trailers.set" set::<3>;
    "response.trailers.add" add::<3>;
    "response.trailers.remove" remove::<3>;
};

/// `get(name)`: the first value or nil.
fn get<const MAP: usize>(asked: Asked) -> Reply {
    let map = Map::ALL[MAP];
    let name = argument(&asked, 1, "name", HeaderOp::Get, map)?;
    let mut found = false;
    let answer = asked.vm.host().header(map, name, &mut |value| {
        if !found {
            found = true;
            asked.state.push_bytes(value);
        }
    });
    match answer {
        Ok(()) if found => Ok(1),
        Err(refusal) if !missing(&refusal) => asked.refuse(&refusal),
        _ => asked.nil(),
    }
}

/// `get_all(name)`: an array of all values, in order.
fn get_all<const MAP: usize>(asked: Asked) -> Reply {
    let map = Map::ALL[MAP];
    let name = argument(&asked, 1, "name", HeaderOp::GetAll, map)?;
    asked.state.new_table(2, 0);
    let mut at = 0;
    let answer = asked.vm.host().header(map, name, &mut |value| {
        at += 1;
        asked.state.push_bytes(value);
        asked.state.raw_set_index(-2, at);
    });
    match answer {
        Err(refusal) if !missing(&refusal) => asked.refuse(&refusal),
        _ => Ok(1),
    }
}

/// An array of name, value, name, value …: the prelude makes the iterator `pairs()` of it.
fn all<const MAP: usize>(asked: Asked) -> Reply {
    asked.state.new_table(32, 0);
    let mut at = 0;
    let answer = asked.vm.host().headers(Map::ALL[MAP], &mut |name, value| {
        asked.state.push_bytes(name);
        asked.state.raw_set_index(-2, at + 1);
        asked.state.push_bytes(value);
        asked.state.raw_set_index(-2, at + 2);
        at += 2;
    });
    match answer {
        Err(refusal) if !missing(&refusal) => asked.refuse(&refusal),
        _ => Ok(1),
    }
}

fn set<const MAP: usize>(asked: Asked) -> Reply {
    let map = Map::ALL[MAP];
    let name = argument(&asked, 1, "name", HeaderOp::Set, map)?;
    let value = argument(&asked, 2, "value", HeaderOp::Set, map)?;
    asked.answer(asked.vm.host().set_header(map, name, value))
}

fn add<const MAP: usize>(asked: Asked) -> Reply {
    let map = Map::ALL[MAP];
    let name = argument(&asked, 1, "name", HeaderOp::Add, map)?;
    let value = argument(&asked, 2, "value", HeaderOp::Add, map)?;
    asked.answer(asked.vm.host().add_header(map, name, value))
}

fn remove<const MAP: usize>(asked: Asked) -> Reply {
    let map = Map::ALL[MAP];
    let name = argument(&asked, 1, "name", HeaderOp::Remove, map)?;
    asked.answer(asked.vm.host().remove_header(map, name))
}

#[inline]
fn argument<'a>(asked: &Asked, index: i32, name: &str, op: HeaderOp, map: Map) -> Result<&'a [u8], Out> {
    let function = op.on(map).row().lua;
    asked.text(index, function, name).map_err(|out| match asked.state.kind(1) {
        // Whoever comes from objects writes `headers:get(name)`, which gives the table first.
        Kind::Table => asked.wrong(1, function, "name", "a string (call it with '.', not with ':')"),
        _ => out,
    })
}

/// That there is no such header is a value of its own (nil), not a refusal.
fn missing(refusal: &Refusal) -> bool {
    refusal.status == Status::NotFound
}
