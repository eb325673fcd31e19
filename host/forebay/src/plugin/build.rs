//! `forebay plugin build DIR`: makes a Wasm module from a plugin written in Rust.
//!
//! Setting the target up is the work of `sdk-wasm/setup-wasm-target`, which this binary carries
//! so that it needs no repository. Whether anything is to be done is left to cargo, which knows
//! every file that a build depends on.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

const SETUP: &str = include_str!("../../../../sdk-wasm/setup-wasm-target");
const TARGET: &str = "wasm32-wasip1";

/// Builds the plugin in the folder `dir` and gives the path of its module,
/// `dir/target/forebay/<package>.wasm`. `progress` gets a line for each step; cargo's own
/// progress goes to stderr.
pub fn run(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("{}: no such plugin folder", dir.display()))?;
    let manifest = dir.join("Cargo.toml");
    if !manifest.exists() {
        let lua = dir.join("main.lua").exists();
        let hint = if lua { " (a Lua plugin needs no build)" } else { "" };
        bail!("{}: there is no Cargo.toml to build a Wasm module from{hint}", dir.display());
    }
    let cargo = toolchain(progress)?;
    progress(&format!("building {}", dir.display()));
    let (package, built) = cargo_build(&cargo, &dir)?;
    let module = dir.join("target/forebay").join(format!("{package}.wasm"));
    if place(&built, &module)? {
        let size = fs::metadata(&module)?.len();
        progress(&format!("{} ({} KiB)", module.display(), size.div_ceil(1024)));
    } else {
        progress(&format!("{} is up to date", module.display()));
    }
    Ok(module)
}

/// A cargo that builds for the target, set up once for the user.
fn toolchain(progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let folder = cache_folder()?.join("wasm-toolchain");
    fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    // Each version of the script has its own name: one that runs is never written over.
    let script = folder.join(format!("setup-wasm-target-{}", env!("CARGO_PKG_VERSION")));
    if fs::read_to_string(&script).is_ok_and(|text| text == SETUP) {
        progress(&format!("checking the {TARGET} target"));
    } else {
        progress(&format!("setting the {TARGET} target up in {}", folder.display()));
        let own = folder.join(format!("setup-{}", std::process::id()));
        fs::write(&own, SETUP).and_then(|()| fs::rename(&own, &script))?;
    }
    let mut child = Command::new("bash")
        .arg(&script)
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("bash, which sets the Wasm target up, does not start")?;
    let mut last = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).lines() {
        let line = line?;
        progress(&line);
        last.push(line);
        if last.len() > 10 {
            last.remove(0);
        }
    }
    ensure!(child.wait()?.success(), "the Wasm target could not be set up:\n{}", last.join("\n"));
    Ok(folder.join("bin/cargo"))
}

fn cache_folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(cache.context("no folder for the Wasm toolchain: set HOME or XDG_CACHE_HOME")?.join("forebay"))
}

/// Runs cargo; gives the package's name and the module that it reports to have made.
fn cargo_build(cargo: &Path, dir: &Path) -> Result<(String, PathBuf)> {
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Those of a cargo that runs this program (`cargo run`, a test) are about another build.
    for name in ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_MANIFEST_DIR"] {
        command.env_remove(name);
    }
    let mut child = command.spawn().with_context(|| format!("{} does not start", cargo.display()))?;
    let mut modules = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let message: serde_json::Value = match serde_json::from_str(&line?) {
            Ok(message) => message,
            Err(_) => continue,
        };
        let package = package_name(message["package_id"].as_str().unwrap_or_default());
        let files = message["filenames"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| file.as_str()).filter(|file| file.ends_with(".wasm"));
        modules.extend(files.map(|file| (package.to_owned(), PathBuf::from(file))));
    }
    ensure!(child.wait()?.success(), "{}: cargo could not build the plugin: see above", dir.display());
    modules.pop().with_context(|| {
        format!(
            "{}: the package makes no Wasm module; its Cargo.toml needs [lib] crate-type = [\"cdylib\"]",
            dir.display()
        )
    })
}

/// `path+file:///plugins/NAME#0.1.0`, or `…#NAME@0.1.0` where the folder has another name.
fn package_name(id: &str) -> &str {
    let (place, version) = id.rsplit_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next().unwrap_or(place),
    }
}

/// Copies what cargo made to its place, unless it is there already. Renamed into place, so that
/// an edge which reloads on change sees all of it.
fn place(built: &Path, module: &Path) -> Result<bool> {
    let bytes = fs::read(built).with_context(|| format!("{}: cannot be read", built.display()))?;
    if fs::read(module).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let folder = module.parent().expect("the module stands in target/forebay");
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!("new-{}", std::process::id()));
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, module))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_its_id() {
        assert_eq!(package_name("path+file:///plugins/shop-headers#0.1.0"), "shop-headers");
        assert_eq!(package_name("path+file:///plugins/shop#shop-headers@0.1.0"), "shop-headers");
    }

    #[test]
    fn a_folder_without_a_package_is_refused_and_lua_is_told_apart() {
        let dir = std::env::temp_dir().join(format!("forebay-no-package-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let error = run(&dir, &mut |_| panic!("nothing is begun")).unwrap_err().to_string();
        assert!(error.contains("there is no Cargo.toml"), "{error}");
        assert!(!error.contains("Lua"), "{error}");
        fs::write(dir.join("main.lua"), "").unwrap();
        let error = run(&dir, &mut |_| panic!("nothing is begun")).unwrap_err().to_string();
        assert!(error.contains("a Lua plugin needs no build"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
        assert!(run(&dir, &mut |_| {}).unwrap_err().to_string().contains("no such plugin folder"));
    }

    /// The whole way, as a user goes it: the first time on a machine the target is set up, which
    /// takes a minute.
    #[test]
    fn a_plugin_in_rust_is_built_and_then_up_to_date() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/wasm/header-filter");
        let module = run(&dir, &mut |line| eprintln!("{line}")).unwrap();
        assert!(module.ends_with("plugins/wasm/header-filter/target/forebay/header-filter.wasm"), "{module:?}");
        assert!(fs::read(&module).unwrap().starts_with(b"\0asm"));
        let before = fs::metadata(&module).unwrap().modified().unwrap();
        let mut last = String::new();
        assert_eq!(run(&dir, &mut |line| last = line.to_owned()).unwrap(), module);
        assert!(last.ends_with("is up to date"), "{last}");
        assert_eq!(fs::metadata(&module).unwrap().modified().unwrap(), before);
    }
}
