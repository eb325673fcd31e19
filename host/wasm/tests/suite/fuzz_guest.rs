//! The guest that the fuzz target drives, and what it is told to call: it reads a script over its whole memory,
//! makes the one call that stands there, and says what it got and what its memory is then.

use std::fmt::Write;
use std::ops::Range;

pub const MEMORY: usize = 65536;
/// Where the allocator gives blocks from.
pub const BLOCKS: usize = 40960;
/// Of the script: how to allocate, the import, the callback in which to call it, and its arguments.
pub const HOW: usize = 16;
pub const INDEX: usize = 24;
pub const PLACE: usize = 28;
pub const ARGUMENTS: usize = 64;
/// Texts that arguments point to, and what is free to be written to.
pub const TEXTS: usize = 256;
pub const FREE: usize = 24576;

/// One import: its parameters, whether each is an i64, and whether it has a result.
pub struct Import {
    pub module: String,
    pub name: String,
    pub longs: Vec<bool>,
    result: bool,
}

pub fn imports() -> Vec<Import> {
    let imports = forebay_wasm::import_types().into_iter().map(|(module, name, signature)| {
        let (params, results) = signature.split_once(" -> ").unwrap();
        let params = params.trim_matches(['(', ')']).split(", ").filter(|param| !param.is_empty());
        let longs = params.map(|param| match param {
            "i32" => false,
            "i64" => true,
            other => panic!("{module}.{name} takes {other}"),
        });
        let longs = longs.collect();
        let result = match results {
            "(i32)" => true,
            "()" => false,
            other => panic!("{module}.{name} gives {other}"),
        };
        Import { module, name, longs, result }
    });
    imports.collect()
}

impl Import {
    /// What it may answer.
    pub fn codes(&self) -> Vec<u32> {
        match (&*self.module, &*self.name) {
            ("env", "pthread_equal") => vec![0, 1],
            (_, _) if !self.result => vec![0],
            ("env", name) if name.starts_with("forebay_") => (0..=12).chain(100..=104).collect(),
            ("env", _) => (0..=12).collect(),
            // Of WASI: success, badf, fault, inval, nosys.
            _ => vec![0, 8, 21, 28, 52],
        }
    }

    /// Whether it ever answers that all is well, to this guest: one that always is done has nothing to be done with.
    pub fn serves(&self) -> bool {
        let unserved = ["proc_exit", "proc_raise", "proxy_done"];
        let no_files = ["fd_", "path_", "sock_"];
        let files = ["fd_write", "fd_read", "fd_fdstat_get"];
        !(unserved.contains(&&*self.name)
            || no_files.iter().any(|none| self.name.starts_with(none)) && !files.contains(&&*self.name))
    }

    /// Where a call with these arguments may write: which of them say where is not known here.
    pub fn writes(&self, arguments: &[u64]) -> Vec<Range<usize>> {
        let width = match &*self.name {
            "fd_fdstat_get" => 24,
            "random_get" => {
                return std::iter::once(arguments[0] as usize..(arguments[0] + arguments[1]) as usize).collect();
            }
            "proxy_get_current_time_nanoseconds" | "proxy_get_metric" | "clock_time_get" | "clock_res_get" => 8,
            _ => 4,
        };
        let places =
            arguments.iter().zip(&self.longs).filter(|(_, long)| !**long).map(|(argument, _)| *argument as usize);
        places.map(|at| at..at + width).collect()
    }
}

/// The callbacks in which calls are made, those of the start first.
pub fn callbacks() -> Vec<&'static str> {
    let mut names = vec!["_initialize", "proxy_on_vm_start", "proxy_on_configure"];
    let starts = names.clone();
    // What comes as a foreign function is the end of a timer or a reply, which have callbacks here.
    let all = forebay_wasm::CALLBACKS.iter().map(|(name, ..)| *name);
    names.extend(all.filter(|name| !starts.contains(name) && *name != "proxy_on_foreign_function"));
    names
}

/// The guest, with an import of everything and a callback of each kind, which has `$drive` in it.
pub fn text(imports: &[Import]) -> String {
    text_with(imports, &drive(imports), "(i32.const 1)")
}

/// The same with another `$drive`, and what callbacks answer.
pub fn text_with(imports: &[Import], drive: &str, answer: &str) -> String {
    let mut head = String::new();
    let mut body = String::new();
    let mut table = String::new();
    for (i, import) in imports.iter().enumerate() {
        let Import { module, name, longs, result } = import;
        let params: String = longs.iter().map(|long| if *long { " i64" } else { " i32" }).collect();
        let returns = if *result { "(result i32)" } else { "" };
        writeln!(head, r#"(import "{module}" "{name}" (func $f{i} (param{params}) {returns}))"#).unwrap();
        let mut call = format!("(call $f{i}");
        for (k, long) in longs.iter().enumerate() {
            write!(call, " ({}.load (i32.const {}))", if *long { "i64" } else { "i32" }, ARGUMENTS + 8 * k).unwrap();
        }
        let call = if *result { format!("(i64.extend_i32_u {call}))") } else { format!("{call}) (i64.const 0)") };
        writeln!(body, "(func $do{i} (result i64) {call})").unwrap();
        write!(table, " $do{i}").unwrap();
    }
    for (place, name) in callbacks().into_iter().enumerate() {
        let (params, result) = match forebay_wasm::CALLBACKS.iter().find(|(known, ..)| *known == name) {
            Some((_, takes, returns)) => (" i32".repeat(*takes.last().unwrap()), *returns == 1),
            None => (String::new(), false),
        };
        let (returns, value) = if result { ("(result i32)", answer) } else { ("", "") };
        writeln!(
            body,
            r#"(func (export "{name}") (param{params}) {returns} (call $drive (i32.const {place})) {value})"#
        )
        .unwrap();
    }
    module(&head, drive, &body, &table)
}

fn module(head: &str, drive: &str, body: &str, table: &str) -> String {
    format!(
        r#"(module
        {head}
        (memory (export "memory") 1)
        (type $do (func (result i64)))
        (table funcref (elem {table}))
        (global $how (mut i32) (i32.const 0))
        (global $lie (mut i32) (i32.const 0))
        (global $next (mut i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
            (if (i32.eqz (global.get $how)) (then (return (i32.const 8))))
            (if (i32.eq (global.get $how) (i32.const 2)) (then (return (global.get $lie))))
            (local.set $at (global.get $next))
            (if (i32.gt_u (local.get $size) (i32.sub (i32.const {MEMORY}) (local.get $at))) (then (return (i32.const 0))))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
        {drive}
        {body})"#
    )
}

/// Reads the script, makes its call in the callback that it is for, and leaves in the dictionary what the
/// memory is then (`d`) and what the call answered (`r`).
fn drive(imports: &[Import]) -> String {
    let of = |name: &str| imports.iter().position(|import| import.name == name).unwrap();
    let (get, set) = (of("proxy_get_property"), of("proxy_set_shared_data"));
    format!(
        r#"(func $drive (param $place i32) (local $result i64) (local $first i64)
            (global.set $how (i32.const 0))
            (i64.store (i32.const 8) (i64.const {script}))
            (if (call $f{get} (i32.const 8) (i32.const 6) (i32.const 0) (i32.const 4)) (then (unreachable)))
            (if (i32.ne (local.get $place) (i32.load (i32.const {PLACE}))) (then (return)))
            (global.set $how (i32.load (i32.const {HOW})))
            (global.set $lie (i32.load offset=4 (i32.const {HOW})))
            (global.set $next (i32.const {BLOCKS}))
            (local.set $result (call_indirect (type $do) (i32.load (i32.const {INDEX}))))
            (local.set $first (i64.load (i32.const 0)))
            (i32.store8 (i32.const 0) (i32.const {d}))
            (if (call $f{set} (i32.const 0) (i32.const 1) (i32.const 8) (i32.const {rest}) (i32.const 0)) (then (unreachable)))
            (i64.store (i32.const 8) (local.get $first))
            (i64.store (i32.const 16) (local.get $result))
            (i32.store (i32.const 24) (global.get $next))
            (i32.store8 (i32.const 0) (i32.const {r}))
            (if (call $f{set} (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 20) (i32.const 0)) (then (unreachable))))"#,
        script = u64::from_le_bytes(*b"script\0\0"),
        rest = MEMORY - 8,
        d = b'd',
        r = b'r',
    )
}

/// One call, and what the guest's memory is before it.
pub struct Script {
    /// From address 8 on.
    pub image: Vec<u8>,
    pub arguments: Vec<u64>,
    /// Whether the allocator gives what is free.
    pub honest: bool,
}

impl Script {
    /// For a callback in which nothing is called.
    pub fn nothing() -> Vec<u8> {
        vec![0xff; MEMORY - 8]
    }

    /// The whole memory as the call finds it: where the script was put stands before it.
    pub fn memory(&self) -> Vec<u8> {
        [&8u32.to_le_bytes()[..], &((MEMORY - 8) as u32).to_le_bytes(), &self.image].concat()
    }

    pub fn said(&self) -> String {
        format!("{:x?}{}", self.arguments, if self.honest { "" } else { ", with an allocator that lies" })
    }
}
