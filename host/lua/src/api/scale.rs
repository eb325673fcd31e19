//! `forebay.scale`: hints, and how a policy plugin is asked and answers.

use std::time::Duration;

use abi::{Fault, Host, ScaleHint, Verdict};

use super::callout::seconds;
use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind, State};
use crate::value;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "scale.hint" hint;
    "scale.view" view;
    "scale.propose" |asked| {
        let origins = asked.number(1, "scale.propose", "origins")?;
        let because = if missing(asked.state, 2) { "" } else { asked.name(2, "scale.propose", "because")? };
        asked.answer(asked.vm.host().scale_propose(origins, because))
    };
};

/// The table that `autoscale` gets.
fn view(asked: Asked) -> Reply {
    match asked.vm.host().scale_view() {
        Ok(view) => {
            value::push_config(asked.state, &view);
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// Proposes what `autoscale` has returned: nothing, a number and why, or `{origins, because}`. What is
/// neither is its fault, and so is a number that is no count.
pub fn propose(state: State, host: &dyn Host) -> Result<(), Fault> {
    let wrong = |text: String| Fault::new(Verdict::Trap, format!("autoscale: {text}"));
    if missing(state, 1) {
        return Ok(());
    }
    state.reserve(4);
    state.set_top(2);
    if state.kind(1) == Kind::Table {
        // A metamethod would run where nobody watches it.
        state.raw_field(1, "origins");
        state.raw_field(1, "because");
        if missing(state, 3) {
            return Err(wrong("returned a table without origins; allowed: {origins, because}".to_owned()));
        }
    } else {
        state.push_copy(1);
        state.push_copy(2);
    }
    if state.kind(3) != Kind::Number {
        let found = state.kind(3).name();
        let allowed = "allowed: a number of origins and a text, {origins, because}, or nil";
        return Err(wrong(format!("returned {found} for the origins; {allowed}")));
    }
    let because = match state.kind(4) {
        Kind::Nil | Kind::None => String::new(),
        Kind::String | Kind::Number => value::error_text(state, 4),
        other => return Err(wrong(format!("returned {} for the reason; allowed: a text", other.name()))),
    };
    host.scale_propose(state.number(3), &because).map_err(|refusal| wrong(format!("returned {}", refusal.message)))
}

fn missing(state: State, index: i32) -> bool {
    matches!(state.kind(index), Kind::Nil | Kind::None)
}

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
