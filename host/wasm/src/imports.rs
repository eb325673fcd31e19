//! What a module may import, and what is said of a module that wants something else.

use std::sync::OnceLock;

use wasmtime::{Extern, ExternType, ImportType, Linker, Module, Store};

use crate::engine::engine;
use crate::exports::signature;
use crate::state::State;
use crate::{api, wasi};

/// Imports that an error names, and characters of each name.
const MOST_TOLD: usize = 20;
const LONGEST_TOLD: usize = 100;

/// Everything that can be imported, by any version: a 0.1.0 module that asks for something of
/// 0.2 gets it.
fn linker() -> &'static Linker<State> {
    static LINKER: OnceLock<Linker<State>> = OnceLock::new();
    LINKER.get_or_init(|| {
        let mut linker = Linker::new(engine());
        api::define(&mut linker).and_then(|()| wasi::define(&mut linker)).expect("no import is defined twice");
        linker
    })
}

fn looking() -> Store<State> {
    Store::new(engine(), State::unhosted())
}

/// The module and name of each import that exists, sorted.
pub fn names() -> Vec<(String, String)> {
    let mut names: Vec<_> =
        linker().iter(&mut looking()).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect();
    names.sort();
    names
}

/// The same with the type of each, as `(i32, i64) -> (i32)`: for who calls them all.
pub fn types() -> Vec<(String, String, String)> {
    let mut store = looking();
    let names = names().into_iter().filter_map(|(module, name)| {
        let function = linker().get(&mut store, &module, &name).ok()?.into_func()?;
        let signature = signature(&function.ty(&store));
        Some((module, name, signature))
    });
    names.collect()
}

/// The linker for `module`, and what it imports that we do not have, a line each.
pub fn resolve(module: &Module) -> (Linker<State>, Vec<String>) {
    let mut linker = linker().clone();
    let mut store = looking();
    let mut problems = Vec::new();
    let mut more = 0;
    for import in module.imports() {
        if problems.len() == MOST_TOLD {
            more += 1;
            continue;
        }
        let (from, name) = (import.module(), import.name());
        let ExternType::Func(wanted) = import.ty() else {
            let (from, name) = (shown(from), shown(name));
            problems.push(format!("{from}.{name}, which is {}: only functions can be imported", kind(&import)));
            continue;
        };
        match linker.get(&mut store, from, name) {
            Ok(Extern::Func(ours)) if wanted.matches(&ours.ty(&store)) => {}
            Ok(Extern::Func(_)) if api::define_without_result(&mut linker, from, name, &wanted) => {}
            Ok(Extern::Func(ours)) => {
                let (wanted, ours) = (signature(&wanted), signature(&ours.ty(&store)));
                problems.push(format!("{from}.{name} as {wanted}; it is {ours}"));
            }
            _ => problems.push(format!("{}.{}{}", shown(from), shown(name), near(&mut store, from, name))),
        }
    }
    if more > 0 {
        problems.push(format!("(and {more} imports after these were not looked at)"));
    }
    (linker, problems)
}

/// A name of the module's for a person to read: cut, and without what would drive a terminal.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(LONGEST_TOLD).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST_TOLD).is_some() {
        shown.push('…');
    }
    shown
}

fn kind(import: &ImportType<'_>) -> &'static str {
    match import.ty() {
        ExternType::Func(_) => "a function",
        ExternType::Global(_) => "a global",
        ExternType::Table(_) => "a table",
        ExternType::Memory(_) => "a memory",
        ExternType::Tag(_) => "a tag",
    }
}

/// The import that was perhaps meant: the same name in another module, or a name much like it.
fn near(store: &mut Store<State>, from: &str, name: &str) -> String {
    if name.len() > LONGEST_TOLD {
        return String::new();
    }
    let all = linker().iter(store).map(|(module, known, _)| {
        let likeness = strsim::jaro_winkler(name, known) + if module == from { 0.01 } else { 0.0 };
        (likeness, module, known)
    });
    match all.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, module, known)) if likeness > 0.9 => format!(" (did you mean {module}.{known}?)"),
        _ => String::new(),
    }
}
