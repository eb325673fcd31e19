//! A store in this process, for trying plugins without a server: it answers as Redis does. Scripts
//! are not run: whoever makes the store says what they give.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use abi::{Answer, KvAsk, Refusal, Status, Value};

use crate::clock;

type Evaluate = dyn Fn(&[u8], &[Vec<u8>], &[Vec<u8>]) -> Answer<Value>;

#[derive(Default)]
pub struct Memory {
    values: RefCell<BTreeMap<Vec<u8>, Entry>>,
    evaluate: Option<Box<Evaluate>>,
}

struct Entry {
    value: Vec<u8>,
    until: Option<Instant>,
}

impl Memory {
    /// What `kv.eval` gives, by script, keys and arguments.
    pub fn with_scripts(evaluate: impl Fn(&[u8], &[Vec<u8>], &[Vec<u8>]) -> Answer<Value> + 'static) -> Memory {
        Memory { values: RefCell::default(), evaluate: Some(Box::new(evaluate)) }
    }

    pub fn ask(&self, ask: &KvAsk) -> Answer<Value> {
        let now = clock::now();
        let mut values = self.values.borrow_mut();
        values.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        match ask {
            KvAsk::Get { key } => Ok(values.get(key).map_or(Value::Nil, |entry| Value::Bytes(entry.value.clone()))),
            KvAsk::Set { key, value, ttl } => {
                values.insert(key.clone(), Entry { value: value.clone(), until: until(now, *ttl) });
                Ok(Value::Bool(true))
            }
            KvAsk::Incr { key, by, ttl } => {
                let entry = values.entry(key.clone()).or_insert(Entry { value: b"0".to_vec(), until: None });
                let after = number(&entry.value)
                    .and_then(|number| number.checked_add(*by).ok_or("ERR increment or decrement would overflow"));
                let after = after.map_err(|why| Refusal::new(Status::BadArgument, format!("kv.incr: {why}")))?;
                entry.value = after.to_string().into_bytes();
                entry.until = entry.until.or(until(now, *ttl));
                Ok(Value::Int(after))
            }
            KvAsk::Delete { key } => Ok(Value::Bool(values.remove(key).is_some())),
            KvAsk::Eval { script, keys, args } => {
                // Taken as over: what it does to the store is for its maker to say.
                drop(values);
                match &self.evaluate {
                    Some(evaluate) => evaluate(script, keys, args),
                    None => Err(Refusal::new(Status::Unimplemented, "kv.eval: a store in memory runs no scripts")),
                }
            }
        }
    }
}

fn until(now: Instant, ttl: Option<Duration>) -> Option<Instant> {
    ttl.map(|ttl| now + ttl)
}

/// As Redis reads one: no sign but a minus, no zeros in front.
fn number(text: &[u8]) -> Result<i64, &'static str> {
    let read = std::str::from_utf8(text).ok().and_then(|text| Some((text, text.parse::<i64>().ok()?)));
    let read = read.filter(|(text, number)| number.to_string() == *text);
    read.map(|(_, number)| number).ok_or("ERR value is not an integer or out of range")
}
