//! What plugins of all workers share, as the Lua plugins of `dict.rs` and its neighbours ask for it.

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

/// Results, from the front.
struct Results(Vec<u8>);

impl Results {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken: Vec<u8> = self.0.drain(..N).collect();
        taken.try_into().expect("that many were taken")
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let len = self.u32() as usize;
        String::from_utf8_lossy(&self.0.drain(..len).collect::<Vec<_>>()).into_owned()
    }
}

/// The results, or the status.
fn call(import: Import, arguments: Pack) -> Result<Results, i32> {
    match arguments.ask(import) {
        (0, results) => Ok(Results(results)),
        (status, _) => Err(status),
    }
}

/// What a call without results says.
fn code(import: Import, arguments: Pack) -> String {
    said(call(import, arguments).map(|_| true))
}

/// As the Lua plugin writes a value, or a refusal.
fn said<T: ToString>(told: Result<T, i32>) -> String {
    match told {
        Ok(value) => value.to_string(),
        Err(1) => "nil".to_owned(),
        Err(8) => "CAS_MISMATCH".to_owned(),
        Err(status) => crate::packed::name(status).to_owned(),
    }
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

fn dict_get(dict: &str, name: &str) -> String {
    said(call(forebay_dict_get, key(dict, name)).map(|mut results| results.text()))
}

fn dict_set(dict: &str, name: &str, value: &str) -> String {
    code(forebay_dict_set, key(dict, name).u8(1).text(value).u8(0).u8(0))
}

/// Every call of a dictionary, and what each said.
pub fn dict_calls() -> String {
    let add = |value: &str| code(forebay_dict_add, key("words", "k").text(value).u8(0));
    let cas = |value: &str, version| code(forebay_dict_cas, key("words", "k").text(value).u32(version).u8(0));
    let incr = |name: &str, by: u64, init: u64| {
        let arguments = key("words", name).u64(by).u64(init).u8(0);
        said(call(forebay_dict_incr, arguments).map(|mut results| results.i64()))
    };
    let mut all = vec![add("1"), add("2")];
    let mut found = call(forebay_dict_get, key("words", "k")).expect("it was added");
    all.push(found.text());
    let version = found.u32();
    all.extend([cas("3", version), cas("4", version), incr("k", 4, 0), incr("n", 2, 40)]);
    all.extend([dict_set("words", "w", "x"), incr("w", 1, 0)]);
    all.push(code(forebay_dict_delete, key("words", "k")));
    all.extend([dict_get("words", "k"), dict_get("others", "k")]);
    all.join(" ")
}

/// Adds for a second: whether it was the first, and what is there.
pub fn dict_brief() -> String {
    let added = code(forebay_dict_add, key("words", "brief").text("1").u8(1).u64(1_000_000_000));
    format!("{added} {}", dict_get("words", "brief"))
}

/// Writes a hundred entries, and says how many are there then.
pub fn dict_many() -> usize {
    let name = |i| format!("k{i}");
    for i in 100..200 {
        dict_set("small", &name(i), &"v".repeat(36));
    }
    (100..200).filter(|i| dict_get("small", &name(*i)) != "nil").count()
}

/// What is left of a bucket, and whether `cost` was allowed.
fn take(bucket: &str, name: &str, cost: u32) -> Result<(bool, u32, u64), i32> {
    let mut results = call(forebay_limit_take, key(bucket, name).u32(cost))?;
    let [allowed] = results.take();
    Ok((allowed != 0, results.u32(), u64::from_le_bytes(results.take())))
}

pub fn limit_take(name: &str) -> String {
    match take("logins", name, 1) {
        Ok((allowed, remaining, wait)) => format!("{allowed} {remaining} {}", wait > 0),
        Err(status) => said::<u32>(Err(status)),
    }
}

/// Reserves, settles as `how` says, tries to settle again, and says what is left.
pub fn limit_lease(how: &str) -> String {
    let left = || take("spend", "k", 0).map_or(0, |(_, remaining, _)| remaining);
    let mut lease = match call(forebay_tokens_reserve, key("spend", "k").u32(40)) {
        Ok(lease) => lease,
        Err(status) => return format!("{} {}", said::<u32>(Err(status)), left()),
    };
    let lease = lease.u32();
    let commit = |used| code(forebay_lease_commit, Pack::default().u32(lease).u32(used));
    let first = match how {
        "less" => commit(10),
        "more" => commit(50),
        "release" => code(forebay_lease_release, Pack::default().u32(lease)),
        _ => return format!("open {}", left()),
    };
    format!("{first} {} {}", commit(1), left())
}

/// Pushes an item, or pops one.
pub fn queue_ask(item: Option<String>) -> String {
    match item {
        Some(item) => code(forebay_queue_push, key("jobs", &item)),
        None => match call(forebay_queue_pop, Pack::default().text("jobs")) {
            Ok(mut popped) => match popped.take() {
                [0] => "nil".to_owned(),
                _ => popped.text(),
            },
            Err(status) => said::<u32>(Err(status)),
        },
    }
}
