//! `forebay plugin new NAME`: a plugin that works, with its tests, to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::region::Unfit;

#[derive(Args)]
pub struct Options {
    /// The plugin's name: lower-case letters, digits and '-', the first a letter
    name: String,
    /// In Lua (the default)
    #[arg(long)]
    lua: bool,
    /// In Rust, for Wasm
    #[arg(long, conflicts_with = "lua")]
    wasm: bool,
    /// A policy of a pool's scaling, which says how many origins there should be
    #[arg(long)]
    policy: bool,
    /// The folder that is made; the plugin's name if not given
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

const SPEC: (&str, &str) = ("spec.yaml", include_str!("new/spec.yaml"));

const LUA: &[(&str, &str)] = &[
    ("plugin.yaml", include_str!("new/lua/plugin.yaml")),
    ("main.lua", include_str!("new/lua/main.lua")),
    ("text.lua", include_str!("new/lua/text.lua")),
    ("text_spec.lua", include_str!("new/lua/text_spec.lua")),
    SPEC,
    ("README.md", include_str!("new/lua/README.md")),
];

/// For the editor of who writes Lua. Hidden, so that it is no module: the types of `forebay`.
const TYPES: &[(&str, &str)] = &[
    (".luarc.json", include_str!("new/lua/luarc.json")),
    (".forebay/forebay.lua", include_str!("../../../../sdk-lua/library/forebay.lua")),
    (".forebay/forebay/base64.lua", include_str!("../../../../sdk-lua/library/forebay/base64.lua")),
    (".forebay/forebay/hash.lua", include_str!("../../../../sdk-lua/library/forebay/hash.lua")),
    (".forebay/forebay/hex.lua", include_str!("../../../../sdk-lua/library/forebay/hex.lua")),
    (".forebay/forebay/json.lua", include_str!("../../../../sdk-lua/library/forebay/json.lua")),
    (".forebay/forebay/jwt.lua", include_str!("../../../../sdk-lua/library/forebay/jwt.lua")),
    (".forebay/forebay/time.lua", include_str!("../../../../sdk-lua/library/forebay/time.lua")),
];

const WASM: &[(&str, &str)] = &[
    ("plugin.yaml", include_str!("new/wasm/plugin.yaml")),
    ("src/lib.rs", include_str!("new/wasm/src/lib.rs")),
    SPEC,
    ("README.md", include_str!("new/wasm/README.md")),
];

const PACKAGE: &[(&str, &str)] = &[("Cargo.toml", include_str!("new/wasm/package.toml")), (".gitignore", "target/\n")];

const POLICY_SPEC: (&str, &str) = ("spec.yaml", include_str!("new/policy/spec.yaml"));

const LUA_POLICY: &[(&str, &str)] = &[
    ("plugin.yaml", include_str!("new/policy/lua/plugin.yaml")),
    ("main.lua", include_str!("new/policy/lua/main.lua")),
    POLICY_SPEC,
    ("README.md", include_str!("new/policy/lua/README.md")),
];

const WASM_POLICY: &[(&str, &str)] = &[
    ("plugin.yaml", include_str!("new/policy/wasm/plugin.yaml")),
    ("src/lib.rs", include_str!("new/policy/wasm/src/lib.rs")),
    POLICY_SPEC,
    ("README.md", include_str!("new/policy/wasm/README.md")),
];

const LONGEST: usize = 63;

pub fn run(options: &Options) -> anyhow::Result<bool> {
    check(&options.name)?;
    let dir = options.dir.clone().unwrap_or_else(|| PathBuf::from(&options.name));
    let (own, beside) = match (options.wasm, options.policy) {
        (false, false) => (LUA, TYPES),
        (false, true) => (LUA_POLICY, TYPES),
        (true, false) => (WASM, PACKAGE),
        (true, true) => (WASM_POLICY, PACKAGE),
    };
    let files = [own, beside].concat();
    if fs::symlink_metadata(&dir).is_ok() {
        let text = format!("{}: there is something of this name already; nothing was changed", dir.display());
        return Err(Unfit::one(text).into());
    }
    write(&dir, &files, &options.name)?;
    println!("{}", dir.display());
    files.iter().for_each(|(file, _)| println!("  {file}"));
    println!("next: forebay plugin test {}", dir.display());
    Ok(true)
}

fn write(dir: &Path, files: &[(&str, &str)], name: &str) -> anyhow::Result<()> {
    for (file, text) in files {
        let path = dir.join(file);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        fs::write(&path, text.replace("NAME", name)).with_context(|| format!("{}: not written", path.display()))?;
    }
    Ok(())
}

/// A name that is one everywhere: of a package, a header, a folder, a region file's plugin.
fn check(name: &str) -> Result<(), Unfit> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if begins && name.len() <= LONGEST && name.bytes().all(letter) && !name.ends_with('-') {
        return Ok(());
    }
    let near: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let near: String =
        near.trim_matches('-').trim_start_matches(|c: char| c.is_ascii_digit()).chars().take(LONGEST).collect();
    let near = near.trim_matches('-');
    let near = if near.is_empty() { String::new() } else { format!("; did you mean \"{near}\"?") };
    let shown: String = name.chars().take(LONGEST + 1).collect();
    Err(Unfit::one(format!(
        "found \"{}\"; allowed: a name of lower-case letters, digits and '-', at most {LONGEST}, the first a letter{near}",
        shown.escape_debug()
    )))
}
