//! `forebay.limits`.

use std::time::Duration;

use abi::Limit;

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;
use crate::vm::Stage;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "limits.remaining" remaining;
};

/// `remaining()`: what is left now, by the names of the limits; seconds, bytes, counts.
fn remaining(asked: Asked) -> Reply {
    let mut left = match asked.vm.host().remaining() {
        Ok(left) => left,
        Err(refusal) => return asked.refuse(&refusal),
    };
    let asking = asked.vm.asking();
    let limits = &asked.vm.host().settings().limits;
    let used = asked.vm.used();
    let seconds = |left: Duration| left.saturating_sub(used).as_secs_f64();
    left.push((Limit::Memory, limits.memory.saturating_sub(asked.vm.heap.used()) as f64));
    match asking.stage {
        Stage::Start => left.push((Limit::StartCpu, seconds(asking.callback.get().left(limits.start_cpu)))),
        stage => {
            left.push((Limit::Cpu, seconds(asking.callback.get().left(limits.cpu))));
            if stage != Stage::Tick {
                left.push((Limit::ExchangeCpu, seconds(asking.exchange.get().left(limits.exchange_cpu))));
            }
        }
    }
    asked.state.reserve(4);
    asked.state.new_table(0, left.len() as i32);
    for (limit, left) in left {
        asked.state.push_number(left);
        asked.state.raw_set_field(-2, limit.name());
    }
    Ok(1)
}
