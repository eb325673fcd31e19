//! The section `plugins`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget::budget;
use super::files::Folder;
use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::form::{FilePath, ModuleAt, ModulePlace};
use crate::raw::plugin as raw;
use crate::raw::value::At;
use crate::region::{Plugin, PluginCode, Secret};

/// What capabilities can name.
pub struct Reach<'a> {
    pub pools: &'a Names,
    pub targets: &'a Names,
    pub secrets: &'a Names,
    /// What they are; `None` for one that is wrong.
    pub secret_values: &'a [Option<Secret>],
    pub buckets: &'a Names,
    pub kv: &'a Names,
}

pub fn plugin(raw: &raw::Plugin, reach: &Reach<'_>, folder: &Folder, errors: &mut Errors) -> Option<Plugin> {
    super::one_of(
        &raw.place,
        &[("lua", super::place(&raw.lua)), ("wasm", super::place(&raw.wasm))],
        !errors.has_under(&raw.place),
        errors,
    );
    let lua = raw.lua.as_ref().map(|path| folder.code(path, lua_main, errors).map(PluginCode::Lua));
    let wasm = raw.wasm.as_ref().map(|at| wasm(raw, at, reach, folder, errors));
    if let (None, Some(fetch), false) = (&raw.wasm, &raw.fetch, errors.has_under(&raw.place.key("wasm"))) {
        errors.add(&fetch.place, not_fetched());
    }
    for capability in raw.capabilities.iter() {
        match capability.value.0.split_once(':') {
            Some(("limit", bucket)) => drop(reach.buckets.resolve(bucket, &capability.place, errors)),
            Some(("callout", name)) => {
                drop(reach.pools.resolve_or(reach.targets, name, &capability.place, errors));
            }
            Some(("origin" | "scale.hint", pool)) => drop(reach.pools.resolve(pool, &capability.place, errors)),
            Some(("secret", name)) => drop(reach.secrets.resolve(name, &capability.place, errors)),
            Some(("kv", name)) => drop(reach.kv.resolve(name, &capability.place, errors)),
            _ => {}
        }
    }
    let lua_path = trust(raw, folder, errors);
    let limits = super::limits::of_plugin(&raw.limits, errors);
    if limits.wall < limits.cpu {
        let problem = Problem::found("less than the CPU time that it includes");
        errors.add(&raw.limits.wall.place, problem.allowed("allowed: at least \"cpu\""));
    }
    let text = |freeform: &Option<crate::raw::value::At<raw::Freeform>>| {
        freeform.as_ref().map_or_else(String::new, |freeform| freeform.0.clone())
    };
    if let Some(exchange) = raw.limits.exchange_cpu.as_ref().filter(|exchange| exchange.0 < limits.cpu) {
        let problem = Problem::found("less than the CPU time of one callback");
        errors.add(&exchange.place, problem.allowed("allowed: at least \"cpu\""));
    }
    Some(Plugin {
        name: raw.name.as_ref()?.0.clone(),
        code: lua.or(wasm)??,
        trusted: raw.trusted.value,
        lua_path,
        vm_config: text(&raw.vm_config),
        config: text(&raw.config),
        limits,
        capabilities: raw.capabilities.iter().map(|capability| capability.value.0.clone()).collect(),
        on_fault: raw.on_fault.value,
        isolation: raw.isolation.value,
        crash_budget: budget(&raw.crash_budget, errors),
    })
}

fn wasm(
    raw: &raw::Plugin,
    at: &At<ModulePlace>,
    reach: &Reach<'_>,
    folder: &Folder,
    errors: &mut Errors,
) -> Option<PluginCode> {
    let ModuleAt::File(path) = &at.0 else {
        let fetch = raw.fetch.as_ref().map(|fetch| &fetch.value);
        let remote = super::remote::remote(&at.0, &at.place, fetch, reach, folder, errors)?;
        return Some(PluginCode::Remote(Arc::new(remote)));
    };
    if let Some(fetch) = &raw.fetch {
        errors.add(&fetch.place, not_fetched());
    }
    let path = At { value: FilePath(path.clone()), place: at.place.clone() };
    folder.code(&path, wasm_module, errors).map(PluginCode::Wasm)
}

fn not_fetched() -> Problem {
    let problem = Problem::found("how to fetch what is not fetched");
    problem.allowed("allowed: beside a \"wasm\" that begins with https:// or oci://")
}

/// What only a trusted plugin has. The folders of its path.
fn trust(raw: &raw::Plugin, folder: &Folder, errors: &mut Errors) -> Vec<PathBuf> {
    if raw.trusted.value && raw.wasm.is_some() {
        let problem = Problem::found("true for a Wasm plugin, which has nothing to be trusted with");
        errors.add(&raw.trusted.place, problem.allowed("allowed: a plugin with \"lua\""));
    }
    let mut folders = Vec::new();
    for written in raw.lua_path.iter() {
        let path = folder.path(&written.value);
        if !raw.trusted.value {
            let problem = Problem::found("a folder of modules for a plugin that is not trusted");
            errors.add(&written.place, problem.allowed("needed beside it: trusted: true"));
        } else if !path.is_dir() {
            errors.add(&written.place, Problem::found(format!("{} is no folder", path.display())));
        }
        folders.push(path);
    }
    folders
}

fn lua_main(folder: &Path) -> Result<PathBuf, Problem> {
    let main = folder.join("main.lua");
    if main.is_file() {
        return Ok(main);
    }
    let problem = Problem::found(format!("no main.lua in {}", folder.display()));
    Err(problem.allowed("allowed: a Lua file, or a folder with a main.lua"))
}

/// Where `forebay plugin build` puts the module of a folder's package.
fn wasm_module(folder: &Path) -> Result<PathBuf, Problem> {
    let allowed = "allowed: a Wasm module, or a folder with a Cargo.toml";
    let manifest = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|_| Problem::found(format!("no Cargo.toml in {}", folder.display())).allowed(allowed))?;
    let package = package_name(&text)
        .ok_or_else(|| Problem::found(format!("no package name in {}", manifest.display())).allowed(allowed))?;
    let module = folder.join("target/forebay").join(format!("{package}.wasm"));
    if module.is_file() {
        return Ok(module);
    }
    let problem = Problem::found(format!("not built: there is no {}", module.display()));
    Err(problem.allowed(format!("run: forebay plugin build {}", folder.display())))
}

fn package_name(manifest: &str) -> Option<String> {
    let manifest: toml::Table = manifest.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}
