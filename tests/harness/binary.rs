//! Where the binary and the built guests are.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The conformance guest in `c`, `assemblyscript` or `go`, which is built the first time that it is
/// asked for: `tests/conformance/guests/build` says with what, and what is missing.
pub fn built_guest(language: &str) -> PathBuf {
    let script = root().join("tests/conformance/guests/build");
    let built = Command::new("bash").arg(&script).arg(language).output();
    let built = built.unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{} {language}: {}\n{told}", script.display(), built.status);
    let module = PathBuf::from(String::from_utf8_lossy(&built.stdout).trim_end());
    compile_once(&module);
    module
}

/// Has the edge's cache of compiled code hold a module before many edges start with it at the same
/// time: each would compile it by itself, which takes a busy machine longer than a test waits.
fn compile_once(module: &Path) {
    let lock = module.with_extension("lock");
    let lock = std::fs::File::create(&lock).unwrap_or_else(|e| panic!("{}: {e}", lock.display()));
    lock.lock().expect("a file can be locked");
    let folder = crate::Folder::new();
    let region = format!(
        "edge: {{listeners: [{{address: \"127.0.0.1:0\"}}]}}\nplugins: [{{name: guest, wasm: {}, config: none}}]\n\
         routes: [{{name: all, plugins: [guest], pool: none}}]\npools: [{{name: none, origins: [\"127.0.0.1:1\"]}}]\n",
        module.display()
    );
    let region = folder.write("region.yaml", region);
    let checked = Command::new(forebay()).arg("check").arg(region).output().expect("the binary starts");
    assert!(checked.status.success(), "{}: {}", module.display(), String::from_utf8_lossy(&checked.stderr));
}

/// The module of an example of sdk-wasm, which is built when it is asked for.
pub fn example(name: &str) -> PathBuf {
    let folder = root().join("sdk-wasm");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let toolchain = cache.expect("HOME or XDG_CACHE_HOME is set").join("forebay/wasm-toolchain");
    let set_up = Command::new("bash").arg(folder.join("setup-wasm-target")).arg(&toolchain).status();
    assert!(set_up.is_ok_and(|status| status.success()), "setup-wasm-target failed: see above");
    let mut cargo = Command::new(toolchain.join("bin/cargo"));
    cargo.args(["build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip1", "--example", name]);
    for name in ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    assert!(cargo.current_dir(&folder).status().is_ok_and(|status| status.success()), "{name} does not build");
    folder.join("target/wasm32-wasip1/release/examples").join(name).with_extension("wasm")
}
