//! A plugin's folder: its manifest and its code.

use std::path::{Path, PathBuf};

use anyhow::Context;
use config::PluginCode;
use config::manifest::{self, Engine, Manifest};
use edge::stage::Role;

use super::build;
use crate::region::Unfit;

pub struct Folder {
    /// As it was given, for messages.
    pub given: PathBuf,
    /// Absolute.
    pub path: PathBuf,
    pub manifest: Manifest,
}

impl Folder {
    pub fn read(given: &Path) -> anyhow::Result<Folder> {
        let path =
            given.canonicalize().map_err(|_| Unfit::one(format!("{}: no such plugin folder", given.display())))?;
        let file = given.join(manifest::FILE);
        if !file.exists() {
            let hint = "a plugin's folder has one; `forebay plugin new` makes it";
            return Err(Unfit::one(format!("{}: there is no {}: {hint}", given.display(), manifest::FILE)).into());
        }
        let manifest = manifest::load(&file).map_err(|errors| unfit(&errors))?;
        let folder = Folder { given: given.to_owned(), path, manifest };
        let main = folder.path.join(folder.main());
        if !main.is_file() {
            let text =
                format!("{}: there is no {}, which its {} needs", given.display(), folder.main(), manifest::FILE);
            return Err(Unfit::one(text).into());
        }
        Ok(folder)
    }

    /// What must stand beside the manifest.
    fn main(&self) -> &'static str {
        match self.manifest.engine {
            Engine::Lua => "main.lua",
            Engine::Wasm => "Cargo.toml",
        }
    }

    /// The code as a region file would name it; a Wasm plugin is built first.
    pub fn code(&self) -> anyhow::Result<PluginCode> {
        Ok(match self.manifest.engine {
            Engine::Lua => PluginCode::Lua(self.path.join("main.lua")),
            Engine::Wasm => {
                let mut last = String::new();
                let built = build::run(&self.path, &mut |line| line.clone_into(&mut last));
                PluginCode::Wasm(built.with_context(|| format!("{}: {last}", self.given.display()))?)
            }
        })
    }

    /// What the plugin says that it needs.
    pub fn capabilities(&self) -> Vec<String> {
        self.manifest.capabilities.iter().map(|(capability, _)| capability.clone()).collect()
    }

    pub fn role(&self) -> anyhow::Result<Role> {
        Ok(Role {
            name: self.manifest.name.clone(),
            code: self.code()?,
            capabilities: self.capabilities(),
            limits: self.manifest.limits.clone(),
        })
    }
}

/// Errors of a file, one a line.
pub fn unfit(errors: &config::Errors) -> Unfit {
    Unfit { errors: errors.iter().map(ToString::to_string).collect() }
}
