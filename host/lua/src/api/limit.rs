//! `forebay.limit`, `forebay.tokens` and the leases that it gives: the objects are made in the
//! prelude.

use abi::{Answer, LeaseId, Taken};

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "limit.take" take;
    "tokens.reserve" reserve;
    "lease.commit" commit;
    "lease.release" release;
};

/// `take(bucket, key, cost)`: `{allowed, remaining, retry_after}`.
fn take(asked: Asked) -> Reply {
    let bucket = asked.name(1, "limit.take", "bucket")?;
    let key = asked.text(2, "limit.take", "key")?;
    let taken: Answer<Taken> = asked.vm.host().limit_take(bucket, key, count(&asked, 3, "limit.take", "cost")?);
    match taken {
        Ok(taken) => {
            let state = asked.state;
            state.reserve(4);
            state.new_table(0, 3);
            state.push_bool(taken.allowed);
            state.raw_set_field(-2, "allowed");
            state.push_number(taken.remaining.into());
            state.raw_set_field(-2, "remaining");
            state.push_number(taken.retry_after.as_secs_f64());
            state.raw_set_field(-2, "retry_after");
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `reserve(bucket, n, key)`: the number of a lease.
fn reserve(asked: Asked) -> Reply {
    let bucket = asked.name(1, "tokens.reserve", "bucket")?;
    let tokens = count(&asked, 2, "tokens.reserve", "n")?;
    let reserved: Answer<LeaseId> =
        asked.vm.host().tokens_reserve(bucket, asked.text(3, "tokens.reserve", "key")?, tokens);
    match reserved {
        Ok(lease) => {
            asked.state.push_number(lease.0.into());
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `commit(lease, n)`
fn commit(asked: Asked) -> Reply {
    let lease = LeaseId(count(&asked, 1, "lease.commit", "lease")?);
    let used = count(&asked, 2, "lease.commit", "n")?;
    asked.answer(asked.vm.host().lease_commit(lease, used))
}

fn release(asked: Asked) -> Reply {
    let lease = LeaseId(count(&asked, 1, "lease.release", "lease")?);
    asked.answer(asked.vm.host().lease_release(lease))
}

fn count(asked: &Asked, index: i32, function: &str, name: &str) -> Result<u32, Out> {
    Ok(asked.whole(index, function, name, 0.0, u32::MAX.into())? as u32)
}
