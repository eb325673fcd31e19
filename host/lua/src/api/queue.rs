//! `forebay.queue(name)`: the objects are made in the prelude.

use abi::Answer;
use bytes::Bytes;

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "queue.push" push;
    "queue.pop" pop;
};

/// `push(queue, item)`
fn push(asked: Asked) -> Reply {
    let (queue, item) = (asked.name(1, "queue.push", "queue")?, asked.text(2, "queue.push", "item")?);
    asked.answer(asked.vm.host().queue_push(queue, item))
}

/// `pop(queue)`: the oldest item, or nil.
fn pop(asked: Asked) -> Reply {
    let popped: Answer<Option<Bytes>> = asked.vm.host().queue_pop(asked.name(1, "queue.pop", "queue")?);
    match popped {
        Ok(Some(item)) => {
            asked.state.push_bytes(&item);
            Ok(1)
        }
        Ok(None) => asked.nil(),
        Err(refusal) => asked.refuse(&refusal),
    }
}
