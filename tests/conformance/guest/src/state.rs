//! What plugins of all workers share, as the Lua plugins of `dict.rs` and its neighbours ask for it:
//! through the SDK, and by the imports for the probe.

use std::time::Duration;

use forebay_sdk::dict::{self, Dict};
use forebay_sdk::packed::{self as sdk, Arguments, Refusal};
use forebay_sdk::{limit, queue};

use crate::packed::{Import, Pack};

macro_rules! imports {
    ($($name:ident)*) => {
        #[link(wasm_import_module = "env")]
        extern "C" {
            $(fn $name(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;)*
        }
    };
}

imports! {
    forebay_dict_get
    forebay_dict_set
    forebay_dict_add
    forebay_dict_incr
    forebay_dict_delete
    forebay_dict_cas
    forebay_queue_push
    forebay_queue_pop
    forebay_limit_take
    forebay_tokens_reserve
    forebay_lease_commit
    forebay_lease_release
}

/// Every row of the table that is served here, tried.
pub fn probe(call: &str) -> Option<i32> {
    let key = || key("probes", "a");
    let (import, arguments) = match call {
        "dict.get" => (forebay_dict_get as Import, key()),
        "dict.set" => (forebay_dict_set as Import, key().u8(1).text("1").u8(0).u8(0)),
        "dict.add" => (forebay_dict_add as Import, key().text("1").u8(0)),
        "dict.incr" => (forebay_dict_incr as Import, key().u64(1).u64(0).u8(0)),
        "dict.delete" => (forebay_dict_delete as Import, key()),
        "dict.cas" => (forebay_dict_cas as Import, key().text("1").u32(1).u8(0)),
        "queue.push" => (forebay_queue_push as Import, key()),
        "queue.pop" => (forebay_queue_pop as Import, Pack::default().text("probes")),
        "limit.take" => (forebay_limit_take as Import, key().u32(1)),
        "tokens.reserve" => (forebay_tokens_reserve as Import, key().u32(1)),
        "lease.commit" => (forebay_lease_commit as Import, Pack::default().u32(99).u32(1)),
        "lease.release" => (forebay_lease_release as Import, Pack::default().u32(99)),
        _ => return None,
    };
    Some(arguments.ask(import).0)
}

fn key(of: &str, key: &str) -> Pack {
    Pack::default().text(of).text(key)
}

/// As the Lua plugin writes a value, or a refusal.
fn said<T: ToString>(told: Result<T, Refusal>) -> String {
    match told {
        Ok(value) => value.to_string(),
        Err(refusal) if refusal.code == 1 => "nil".to_owned(),
        Err(refusal) => crate::packed::name(refusal.code).to_owned(),
    }
}

fn done(told: Result<(), Refusal>) -> String {
    said(told.map(|()| true))
}

/// Whether a write won, or what is in its way.
fn won(told: Result<bool, Refusal>) -> String {
    if told == Ok(false) { "CAS_MISMATCH".to_owned() } else { said(told) }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.map_or("nil".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn found(dict: &Dict, key: &str) -> String {
    said(dict.get(key.as_bytes()).map(|found| text(found.map(|(value, _)| value))))
}

/// Every call of a dictionary, and what each said.
pub fn dict_calls() -> String {
    let words = dict::open("words");
    let mut all = vec![won(words.add(b"k", b"1", None)), won(words.add(b"k", b"2", None))];
    let (value, version) = words.get(b"k").expect("it may read").expect("it was added");
    all.push(text(Some(value)));
    all.extend([won(words.cas(b"k", b"3", version, None)), won(words.cas(b"k", b"4", version, None))]);
    all.extend([said(words.incr(b"k", 4, 0, None)), said(words.incr(b"n", 2, 40, None))]);
    all.extend([done(words.set(b"w", b"x", None)), said(words.incr(b"w", 1, 0, None))]);
    all.extend([done(words.delete(b"k")), found(&words, "k"), found(&dict::open("others"), "k")]);
    all.join(" ")
}

/// Adds for a second: whether it was the first, and what is there.
pub fn dict_brief() -> String {
    let words = dict::open("words");
    let added = words.add(b"brief", b"1", Some(Duration::from_secs(1)));
    format!("{} {}", won(added), found(&words, "brief"))
}

/// Writes a hundred entries, and says how many are there then.
pub fn dict_many() -> usize {
    let small = dict::open("small");
    let name = |i| format!("k{i}");
    for i in 100..200 {
        let _ = small.set(name(i).as_bytes(), &[b'v'; 36], None);
    }
    (100..200).filter(|i| found(&small, &name(*i)) != "nil").count()
}

pub fn limit_take(key: &str) -> String {
    said(limit::take("logins", key.as_bytes(), 1).map(|taken| {
        format!("{} {} {}", taken.allowed, taken.remaining, !taken.retry_after.is_zero())
    }))
}

/// Reserves, settles as `how` says, tries to settle again, and says what is left.
pub fn limit_lease(how: &str) -> String {
    let left = || limit::take("spend", b"k", 0).map_or(0, |taken| taken.remaining);
    let lease = match limit::reserve("spend", b"k", 40) {
        Ok(lease) => lease,
        Err(refusal) => return format!("{} {}", said::<u32>(Err(refusal)), left()),
    };
    let number = lease.number();
    let first = match how {
        "less" => lease.commit(10),
        "more" => lease.commit(50),
        "release" => lease.release(),
        _ => return format!("open {}", left()),
    };
    // The SDK's lease is gone by now; the host must know that it has ended.
    let again = sdk::call("forebay_lease_commit", Arguments::new().u32(number).u32(1)).map(drop);
    format!("{} {} {}", done(first), done(again), left())
}

/// Pushes an item, or pops one.
pub fn queue_ask(item: Option<String>) -> String {
    match item {
        Some(item) => done(queue::push("jobs", item.as_bytes())),
        None => said(queue::pop("jobs").map(text)),
    }
}
