//! Key-value stores of the region, as one worker asks them.
//!
//! - this file: [`Store`], and the worker's [`Stores`] by name
//! - `redis`: a store on Redis; `lane`: its connections; [`breaker`]: when it is not asked
//! - [`memory`]: a store in this process, for trying plugins
//! - `tally`: what is counted

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use abi::{Answer, KvAsk, Refusal, Status, Value};

use self::memory::Memory;
use self::redis::Redis;

pub mod breaker;
mod lane;
pub mod memory;
mod redis;
mod tally;

/// One store. Both kinds mean the same by every question.
#[derive(Clone)]
pub enum Store {
    Redis(Rc<Redis>),
    Memory(Rc<Memory>),
}

/// The wait for an answer. Dropped, nobody hears it.
pub type Wait = Pin<Box<dyn Future<Output = Answer<Value>>>>;

impl Store {
    pub fn redis(spec: &config::Kv) -> Store {
        Store::Redis(Rc::new(Redis::new(spec)))
    }

    pub fn memory() -> Store {
        Store::Memory(Rc::default())
    }

    /// Refused now, or the wait for the answer, which has up to `most` bytes.
    pub fn ask(&self, ask: KvAsk, most: usize) -> Answer<Wait> {
        Ok(match self {
            Store::Redis(store) => Box::pin(store.ask(ask, most)?),
            Store::Memory(store) => Box::pin(std::future::ready(store.ask(&ask))),
        })
    }
}

/// One worker's stores: each is made when it is first asked, and kept over reloads that change
/// nothing of it.
#[derive(Default)]
pub struct Stores {
    known: RefCell<HashMap<String, (Arc<config::Kv>, Store)>>,
    given: RefCell<HashMap<String, Store>>,
}

impl Stores {
    /// The store of this name, as the region says now.
    pub fn find(&self, region: &config::Region, name: &str) -> Answer<Store> {
        if let Some(store) = self.given.borrow().get(name) {
            return Ok(store.clone());
        }
        let Some(spec) = region.kv.get(name) else {
            let names: Vec<_> = region.kv.keys().map(String::as_str).collect();
            let text = format!("no store {name:?}; stores are: {}", names.join(", "));
            return Err(Refusal::new(Status::BadArgument, text));
        };
        let mut known = self.known.borrow_mut();
        if let Some((of, store)) = known.get_mut(name)
            && (Arc::ptr_eq(of, spec) || of == spec)
        {
            *of = spec.clone();
            return Ok(store.clone());
        }
        known.retain(|name, _| region.kv.contains_key(name));
        let store = Store::redis(spec);
        known.insert(name.to_owned(), (spec.clone(), store.clone()));
        Ok(store)
    }

    /// Takes `store` for this name from now on, whatever the region says: for trying plugins.
    pub fn put(&self, name: &str, store: Store) {
        self.given.borrow_mut().insert(name.to_owned(), store);
    }
}
