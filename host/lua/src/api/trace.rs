//! `forebay.trace`. The objects of spans are made in the prelude.

use abi::SpanId;

use super::log::field;
use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "trace.span" begin;
    "trace:set" set;
    "trace:finish" finish;
};

/// `span(name)`: its number.
fn begin(asked: Asked) -> Reply {
    let name = asked.name(1, "trace.span", "name")?;
    match asked.vm.host().span(name) {
        Ok(span) => {
            asked.state.push_number(span.0.into());
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `set(span, key, value)`: a string, number or boolean.
fn set(asked: Asked) -> Reply {
    let span = SpanId(asked.number(1, "span:set", "span")? as u32);
    let key = asked.name(2, "span:set", "key")?;
    let value = field(&asked, 3);
    asked.answer(asked.vm.host().set_span(span, key, value))
}

fn finish(asked: Asked) -> Reply {
    let span = SpanId(asked.number(1, "span:finish", "span")? as u32);
    asked.answer(asked.vm.host().finish_span(span))
}
