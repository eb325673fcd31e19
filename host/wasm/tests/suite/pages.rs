//! What is written about the engine, held against the engine.

use std::collections::BTreeSet;
use std::path::Path;

use abi::hostcall::{Phases, TABLE};

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names between backticks in the first cell of each row of each table.
fn listed(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches(['`', ' ']).to_owned()).collect()
}

#[test]
fn the_page_of_the_engine_lists_every_import_and_callback_once_and_nothing_else() {
    let listed = listed(&page("README.md"));
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "a name stands there twice");
    let imports = forebay_wasm::import_names().into_iter().map(|(_, name)| name);
    let exist: BTreeSet<_> =
        imports.chain(forebay_wasm::CALLBACKS.iter().map(|(name, ..)| (*name).to_owned())).collect();
    assert_eq!(exist.difference(&unique).collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
    assert_eq!(unique.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the code");
}

#[test]
fn both_modules_of_wasi_have_the_same() {
    let of = |module: &str| -> BTreeSet<String> {
        forebay_wasm::import_names().into_iter().filter(|(m, _)| m == module).map(|(_, name)| name).collect()
    };
    assert_eq!(of("wasi_unstable"), of("wasi_snapshot_preview1"));
    assert_eq!(of("wasi_unstable").len(), 46);
}

#[test]
fn every_hostcall_of_the_table_has_its_import() {
    let imports: BTreeSet<_> = forebay_wasm::import_names().into_iter().collect();
    for row in TABLE {
        assert!(imports.contains(&("env".to_owned(), row.wasm.to_owned())), "{}", row.wasm);
    }
}

#[test]
fn the_page_of_the_sdk_has_the_table_of_hostcalls() {
    let page = page("../../sdk-wasm/README.md");
    for row in TABLE {
        let phases = if row.phases == Phases::ANY { "any".to_owned() } else { row.phases.names() };
        let begin = format!("| `{}` | `{}` | {phases} | `{}` | ", row.lua, row.wasm, row.need.spelling());
        let line = page.lines().find(|line| line.starts_with(&begin));
        let errors = line.unwrap_or_else(|| panic!("sdk-wasm/README.md has no row that begins {begin:?}"));
        let errors = errors[begin.len()..].trim_end_matches(" |");
        assert!(!errors.trim().is_empty(), "{}: its errors are not said", row.lua);
    }
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4).count();
    assert_eq!(rows, TABLE.len(), "rows for calls that do not exist");
}
