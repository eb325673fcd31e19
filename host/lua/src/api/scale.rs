//! `forebay.scale.hint`.

use std::time::Duration;

use abi::ScaleHint;

use super::callout::seconds;
use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "scale.hint" hint;
};

/// `hint(pool, kind, value, ttl or nil, due or nil)`
fn hint(asked: Asked) -> Reply {
    let pool = asked.name(1, "scale.hint", "pool")?;
    let kind = asked.name(2, "scale.hint", "kind")?;
    let value = asked.number(3, "scale.hint", "value")?;
    let ttl = optional(&asked, 4, "ttl")?;
    let due = optional(&asked, 5, "options.due")?.unwrap_or(Duration::ZERO);
    asked.answer(asked.vm.host().scale_hint(pool, &ScaleHint { kind, value, ttl, due }))
}

fn optional(asked: &Asked, index: i32, name: &str) -> Result<Option<Duration>, Out> {
    match asked.state.kind(index) {
        Kind::Nil | Kind::None => Ok(None),
        _ => seconds(asked, index, "scale.hint", name).map(Some),
    }
}
