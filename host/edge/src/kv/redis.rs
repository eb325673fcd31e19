//! A store on Redis, as one worker uses it: what is asked as commands, and what the answers mean.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use abi::{Answer, Call, KvAsk, Refusal, Status, Value};
use config::Kv;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use super::breaker::{Breaker, Role};
use super::lane::Lane;
use super::tally::{Outcome, Tally};
use crate::clock;

/// Calls of one worker that wait for one store. A server that hangs would gather them until their
/// time limit.
const IN_FLIGHT: usize = 8192;
/// What an item of a list counts as, beside its bytes.
const ITEM: usize = 16;
/// Lists in lists.
const DEPTH: usize = 32;

/// The number first: if it cannot be, nothing else happens.
const INCREMENT: &str = "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) \
    if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return n";

pub struct Redis {
    spec: Rc<Kv>,
    lanes: Vec<Rc<Lane>>,
    turn: Cell<usize>,
    breaker: Breaker,
    tally: Tally,
    in_flight: Cell<usize>,
}

/// A call that went wrong, and whether the store is to blame.
enum Failed {
    /// It has answered.
    Refused(Refusal),
    /// It has not, or says that it cannot serve.
    Lost(Refusal),
}

/// A call that the breaker let through. Dropped before its end was told, it was abandoned.
struct Under {
    store: Rc<Redis>,
    role: Role,
    told: bool,
}

impl Redis {
    pub fn new(spec: &Kv) -> Redis {
        Redis {
            lanes: (0..spec.connections.max(1)).map(|_| Rc::default()).collect(),
            turn: Cell::new(0),
            breaker: Breaker::new(spec.breaker.failures, spec.breaker.open),
            tally: Tally::new(&spec.name),
            in_flight: Cell::new(0),
            spec: Rc::new(spec.clone()),
        }
    }

    /// Refused now, or the wait for its answer.
    pub fn ask(self: &Rc<Self>, ask: KvAsk, most: usize) -> Answer<impl Future<Output = Answer<Value>> + use<>> {
        let call = ask.call();
        if call == Call::KvEval && !self.spec.scripts {
            let text =
                format!("kv.eval: the store {:?} takes no scripts (its key \"scripts\" is false)", self.spec.name);
            self.tally.count(call, Outcome::Refused, None);
            return Err(Refusal::new(Status::CapabilityDenied, text));
        }
        let under = self.admit(call)?;
        Ok(async move {
            let (store, begun) = (under.store.clone(), clock::now());
            let ended = clock::timeout(store.spec.timeout, store.send(&ask, most)).await;
            let ended = ended.unwrap_or_else(|_| {
                let text = format!("no answer within {:?}", store.spec.timeout);
                Err(Failed::Lost(Refusal::new(Status::Timeout, text)))
            });
            under.tell(call, ended, clock::now() - begun)
        })
    }

    fn admit(self: &Rc<Self>, call: Call) -> Answer<Under> {
        let shed = |why: String| {
            self.tally.count(call, Outcome::Shed, None);
            Err(Refusal::new(Status::Unavailable, format!("{}: the store {:?} {why}", call.row().lua, self.spec.name)))
        };
        if self.in_flight.get() >= IN_FLIGHT {
            return shed(format!("has {IN_FLIGHT} calls of this worker in flight"));
        }
        match self.breaker.admit(clock::now()) {
            Ok(role) => {
                self.in_flight.set(self.in_flight.get() + 1);
                Ok(Under { store: self.clone(), role, told: false })
            }
            Err(rest) if rest.is_zero() => shed("did not answer, and is being tried now".to_owned()),
            Err(rest) => shed(format!("did not answer; it is tried again in {} ms", rest.as_millis().max(1))),
        }
    }

    async fn send(&self, ask: &KvAsk, most: usize) -> Result<Value, Failed> {
        let command = command(ask, &self.spec.prefix);
        // A connection that the server closed while it was idle shows only now. What can be said twice
        // is said again on a new one.
        let twice = matches!(ask, KvAsk::Get { .. } | KvAsk::Set { .. });
        match self.send_once(&command).await {
            Err((error, true)) if twice => {
                tracing::debug!(kv = self.spec.name, %error, "a connection broke; asked again on another");
            }
            answered => return answered.map_err(|(error, _)| failed(error)).and_then(|value| meant(ask, value, most)),
        }
        let answered = self.send_once(&command).await;
        answered.map_err(|(error, _)| failed(error)).and_then(|value| meant(ask, value, most))
    }

    /// The error, and whether it is that of a connection which broke.
    async fn send_once(&self, command: &Cmd) -> Result<redis::Value, (Broken, bool)> {
        let lane = &self.lanes[self.turn.get() % self.lanes.len()];
        self.turn.set(self.turn.get().wrapping_add(1));
        let mut line = lane.line(&self.spec).await.map_err(|refusal| (Broken::Unmade(refusal), false))?;
        line.ask(command).await.map_err(|error| {
            let broke = error.is_unrecoverable_error();
            if broke {
                lane.discard(&line);
            }
            (Broken::Error(error), broke)
        })
    }

    fn gave_up(&self, why: &Refusal) {
        self.tally.set_open(true);
        // They may be what is wrong: who tries the store next does so on a new one.
        self.lanes.iter().for_each(|lane| lane.clear());
        tracing::warn!(kv = self.spec.name, %why, rest = ?self.spec.breaker.open, "a store is given up for a while");
    }
}

impl Under {
    fn tell(mut self, call: Call, ended: Result<Value, Failed>, took: Duration) -> Answer<Value> {
        self.told = true;
        let store = &self.store;
        let (outcome, answer) = match ended {
            Ok(value) => (Outcome::Ok, Ok(value)),
            Err(Failed::Refused(refusal)) => (Outcome::Refused, Err(refusal)),
            Err(Failed::Lost(refusal)) if refusal.status == Status::Timeout => (Outcome::Timeout, Err(refusal)),
            Err(Failed::Lost(refusal)) => (Outcome::Unavailable, Err(refusal)),
        };
        store.tally.count(call, outcome, Some(took));
        match (&answer, outcome) {
            (Err(why), Outcome::Timeout | Outcome::Unavailable) => {
                if store.breaker.failed(self.role, clock::now()) {
                    store.gave_up(why);
                } else if self.role == Role::Probe {
                    store.lanes.iter().for_each(|lane| lane.clear());
                }
            }
            _ => {
                if store.breaker.succeeded(self.role) {
                    store.tally.set_open(false);
                    tracing::info!(kv = store.spec.name, "a store that was given up answers again");
                }
            }
        }
        answer.map_err(|refusal| Refusal::new(refusal.status, format!("{}: {}", call.row().lua, refusal.message)))
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.store.in_flight.set(self.store.in_flight.get() - 1);
        if !self.told {
            self.store.breaker.abandoned(self.role, clock::now());
        }
    }
}

fn command(ask: &KvAsk, prefix: &str) -> Cmd {
    let key = |key: &[u8]| [prefix.as_bytes(), key].concat();
    let mut command = Cmd::new();
    match ask {
        KvAsk::Get { key: name } => command.arg("GET").arg(key(name)),
        KvAsk::Set { key: name, value, ttl: None } => command.arg("SET").arg(key(name)).arg(&value[..]),
        KvAsk::Set { key: name, value, ttl: Some(ttl) } => {
            command.arg("SET").arg(key(name)).arg(&value[..]).arg("PX").arg(millis(*ttl))
        }
        KvAsk::Incr { key: name, by, ttl: None } => command.arg("INCRBY").arg(key(name)).arg(*by),
        KvAsk::Incr { key: name, by, ttl: Some(ttl) } => {
            command.arg("EVAL").arg(INCREMENT).arg(1).arg(key(name)).arg(*by).arg(millis(*ttl))
        }
        KvAsk::Delete { key: name } => command.arg("DEL").arg(key(name)),
        KvAsk::Eval { script, keys, args } => {
            let command = command.arg("EVAL").arg(&script[..]).arg(keys.len());
            let command = keys.iter().fold(command, |command, name| command.arg(key(name)));
            args.iter().fold(command, |command, arg| command.arg(&arg[..]))
        }
    };
    command
}

/// Redis takes no less than one.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The answer to what was asked, of up to `most` bytes.
fn meant(ask: &KvAsk, value: redis::Value, most: usize) -> Result<Value, Failed> {
    let mut room = most;
    match (ask, value) {
        (KvAsk::Set { .. }, redis::Value::Okay) => Ok(Value::Bool(true)),
        (KvAsk::Delete { .. }, redis::Value::Int(deleted)) => Ok(Value::Bool(deleted > 0)),
        (_, redis::Value::Nil) => Ok(Value::Nil),
        (_, value) => taken(value, &mut room, DEPTH).map_err(|failed| match failed {
            Failed::Refused(refusal) if refusal.status == Status::LimitExceeded => Failed::Refused(Refusal::new(
                Status::LimitExceeded,
                format!("the answer is larger than {most} bytes (limit buffer), or lists stand deeper than {DEPTH}"),
            )),
            other => other,
        }),
    }
}

fn taken(value: redis::Value, room: &mut usize, depth: usize) -> Result<Value, Failed> {
    let full = || Failed::Refused(Refusal::new(Status::LimitExceeded, ""));
    let size = match &value {
        redis::Value::BulkString(bytes) => bytes.len(),
        redis::Value::SimpleString(text) => text.len(),
        _ => 0,
    };
    *room = room.checked_sub(size).ok_or_else(full)?;
    let mut list = |items: Vec<redis::Value>| {
        let depth = depth.checked_sub(1).ok_or_else(full)?;
        let mut all = Vec::with_capacity(items.len().min(*room / ITEM));
        for item in items {
            *room = room.checked_sub(ITEM).ok_or_else(full)?;
            all.push(taken(item, room, depth)?);
        }
        Ok(Value::List(all))
    };
    match value {
        // As in Redis' own scripts, where a list that ends at its first nil would lose the rest.
        redis::Value::Nil => Ok(Value::Bool(false)),
        redis::Value::Int(number) => Ok(Value::Int(number)),
        redis::Value::BulkString(bytes) => Ok(Value::Bytes(bytes)),
        redis::Value::SimpleString(text) => Ok(Value::Bytes(text.into_bytes())),
        redis::Value::Okay => Ok(Value::Bytes(b"OK".to_vec())),
        redis::Value::Boolean(truth) => Ok(Value::Bool(truth)),
        redis::Value::Double(number) => Ok(Value::Bytes(number.to_string().into_bytes())),
        redis::Value::Array(items) | redis::Value::Set(items) => list(items),
        redis::Value::ServerError(error) => Err(of_server(error.kind(), error.code(), error.details())),
        other => {
            let text = format!("the server answered in a way that was not asked for: {other:?}");
            Err(Failed::Refused(Refusal::new(Status::ParseFailure, text.chars().take(200).collect::<String>())))
        }
    }
}

/// Why a command brought no value.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Unmade(Refusal),
    #[error("{0}")]
    Error(RedisError),
}

fn failed(broken: Broken) -> Failed {
    let error = match broken {
        Broken::Unmade(refusal) => return Failed::Lost(refusal),
        Broken::Error(error) => error,
    };
    if error.is_timeout() {
        return Failed::Lost(Refusal::new(Status::Timeout, error.to_string()));
    }
    match (error.kind(), error.code()) {
        (ErrorKind::Server(kind), Some(code)) => of_server(Some(kind), code, error.detail()),
        (_, Some(code)) => of_server(None, code, error.detail()),
        _ => Failed::Lost(Refusal::new(Status::Unavailable, error.to_string())),
    }
}

/// What the server says: that it cannot serve, that this user may not, or that what was asked makes
/// no sense.
fn of_server(kind: Option<ServerErrorKind>, code: &str, detail: Option<&str>) -> Failed {
    use ServerErrorKind as Kind;
    let text = format!("{code} {}", detail.unwrap_or_default()).trim_end().to_owned();
    match (kind, code) {
        (
            Some(Kind::BusyLoading | Kind::TryAgain | Kind::ClusterDown | Kind::MasterDown | Kind::Moved | Kind::Ask),
            _,
        )
        | (_, "BUSY" | "NOAUTH" | "WRONGPASS") => Failed::Lost(Refusal::new(Status::Unavailable, text)),
        // Others are served all the same, by reading for one.
        (Some(Kind::ReadOnly), _) | (_, "OOM" | "MISCONF" | "NOREPLICAS") => {
            Failed::Refused(Refusal::new(Status::Unavailable, text))
        }
        (Some(Kind::NoPerm), _) => Failed::Refused(Refusal::new(Status::CapabilityDenied, text)),
        _ => Failed::Refused(Refusal::new(Status::BadArgument, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(value: redis::Value, most: usize) -> Result<Value, Status> {
        let ask = KvAsk::Eval { script: Vec::new(), keys: Vec::new(), args: Vec::new() };
        meant(&ask, value, most).map_err(|failed| match failed {
            Failed::Refused(refusal) | Failed::Lost(refusal) => refusal.status,
        })
    }

    #[test]
    fn an_answer_is_bounded_in_bytes_items_and_depth() {
        let bytes = |size| redis::Value::BulkString(vec![b'x'; size]);
        assert!(most(bytes(100), 100).is_ok());
        assert_eq!(most(bytes(101), 100), Err(Status::LimitExceeded));
        let list = |count| redis::Value::Array(vec![redis::Value::Int(1); count]);
        assert!(most(list(10), 160).is_ok());
        assert_eq!(most(list(11), 160), Err(Status::LimitExceeded));
        let nested = |depth| (0..depth).fold(redis::Value::Int(1), |inner, _| redis::Value::Array(vec![inner]));
        assert!(most(nested(DEPTH), 1 << 20).is_ok());
        assert_eq!(most(nested(DEPTH + 1), 1 << 20), Err(Status::LimitExceeded));
    }

    #[test]
    fn what_is_missing_is_nil_alone_and_false_in_a_list() {
        assert_eq!(most(redis::Value::Nil, 10), Ok(Value::Nil));
        let list = redis::Value::Array(vec![redis::Value::Nil, redis::Value::Int(2)]);
        assert_eq!(most(list, 100), Ok(Value::List(vec![Value::Bool(false), Value::Int(2)])));
    }

    #[test]
    fn only_what_the_store_cannot_help_counts_against_it() {
        let lost = |code: &str| matches!(of_server(None, code, None), Failed::Lost(_));
        assert!(lost("BUSY") && lost("NOAUTH"));
        assert!(!lost("WRONGTYPE") && !lost("OOM") && !lost("ERR"));
        assert!(matches!(of_server(Some(ServerErrorKind::BusyLoading), "LOADING", None), Failed::Lost(_)));
        assert!(matches!(of_server(Some(ServerErrorKind::CrossSlot), "CROSSSLOT", None), Failed::Refused(_)));
    }
}
