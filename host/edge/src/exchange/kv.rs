//! A plugin asks a key-value store.

use std::time::Duration;

use abi::{Answer, Fault, KvAsk, Limit, Refusal, Status, Token, Verdict};

use super::seat::{Home, Seat};
use crate::callout::Ended;

/// A key is kept for so long at most.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Phase and capability have been checked.
pub fn ask(seat: &Seat, kv: &str, ask: KvAsk) -> Answer<Token> {
    let name = ask.call().row().lua;
    spend(seat, name)?;
    let most = seat.bound.settings.limits.backstop().buffer;
    check(&ask, name, most)?;
    let worker = seat.surroundings.worker();
    let worker = worker.ok_or_else(|| Refusal::new(Status::Unavailable, format!("{name}: no worker runs here")))?;
    let store = worker.kv.find(&worker.snapshot().region, kv);
    let store = store.map_err(|refusal| Refusal::new(refusal.status, format!("{name}: {}", refusal.message)))?;
    let answer = store.ask(ask, most)?;
    let token = seat.surroundings.next_token();
    seat.spawn(token, async move { Ended::Reply(answer.await) });
    Ok(token)
}

/// Counts one call of the exchange; one too many ends it.
fn spend(seat: &Seat, name: &str) -> Answer<()> {
    let most = seat.bound.settings.limits.kv_calls;
    if let Home::Plugin { .. } = seat.home {
        return Ok(());
    }
    seat.kv_calls.set(seat.kv_calls.get() + 1);
    if seat.may(Limit::KvCalls, seat.kv_calls.get().into(), most.into()) {
        return Ok(());
    }
    let text = format!("{name}: more than {most} calls to key-value stores in one exchange (limit kv_calls)");
    *seat.overstepped.borrow_mut() = Some(Fault::new(Verdict::Callout, text.clone()));
    Err(Refusal::new(Status::LimitExceeded, text))
}

/// What no store is asked.
fn check(ask: &KvAsk, name: &str, most: usize) -> Answer<()> {
    let all = |of: &[Vec<u8>]| of.iter().map(|one| one.len() + 16).sum::<usize>();
    let (size, ttl) = match ask {
        KvAsk::Get { key } | KvAsk::Delete { key } => (key.len(), None),
        KvAsk::Set { key, value, ttl } => (key.len() + value.len(), *ttl),
        KvAsk::Incr { key, ttl, .. } => (key.len(), *ttl),
        KvAsk::Eval { script, keys, args } => (script.len() + all(keys) + all(args), None),
    };
    if size > most {
        let text = format!("{name}: {size} bytes are asked (allowed: {most}, the limit buffer)");
        return Err(Refusal::new(Status::LimitExceeded, text));
    }
    match ttl {
        Some(ttl) if ttl < Duration::from_millis(1) || ttl > LONGEST => {
            let text = format!("{name}: a ttl of {ttl:?} (allowed: 1 ms to 366 days)");
            Err(Refusal::new(Status::BadArgument, text))
        }
        _ => Ok(()),
    }
}
