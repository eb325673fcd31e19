//! Where the binary and the built guests are.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in a folder of the repository")
}

/// The binary under test: `FOREBAY_BIN`, or `forebay` in the same profile as this test.
pub fn forebay() -> PathBuf {
    if let Some(given) = std::env::var_os("FOREBAY_BIN") {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "FOREBAY_BIN is {}, and there is no such file", given.display());
        return given;
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    // target/PROFILE/deps/TEST-HASH
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join("forebay")).find(|f| f.is_file());
    found.unwrap_or_else(|| {
        panic!("no binary `forebay` beside {}: run `cargo build --workspace` first, or tests/run", test.display())
    })
}

/// A module that `forebay plugin build DIR` made from the guest in `folder` (from the root).
pub fn guest(folder: &str, file: &str) -> PathBuf {
    let module = root().join(folder).join("target/forebay").join(file);
    assert!(
        module.is_file(),
        "{} is not built: run `cargo run -- plugin build {folder}` first, or tests/run",
        module.display()
    );
    module
}
