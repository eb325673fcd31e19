//! `forebay plugin lint DIR`: what cannot work, found before it is deployed.
//!
//! - this file: the findings of a folder, and how they are shown
//! - [`lua`]: the files of a Lua plugin, read without running them; [`scope`]: the names of one file
//! - [`reach`]: which calls a callback can come to, held against phases and capabilities
//! - [`surface`]: the names that the sandbox offers, asked of the sandbox itself
//! - [`wasm`]: the imports of a module

use std::path::PathBuf;

use clap::Args;
use config::manifest::{self, Engine};
use edge::stage::{Role, Stage};
use serde_json::json;

use super::folder::Folder;
use super::scratch::lua_files;
use super::test::unit;

mod lua;
mod reach;
mod scope;
mod surface;
mod wasm;

#[derive(Args)]
pub struct Options {
    /// The plugin's folder, or several
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// One JSON document in place of lines for people
    #[arg(long)]
    json: bool,
}

/// Something that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// As it stands in the plugin's folder.
    pub file: String,
    /// From 1; 0 if it is about the file as a whole.
    pub line: u32,
    pub column: u32,
    pub message: String,
}

/// False if there are findings.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let mut all = Vec::new();
    let mut count = 0;
    for dir in &options.dirs {
        let folder = Folder::read(dir)?;
        let findings = folder_findings(&folder)?;
        count += findings.len();
        if options.json {
            all.push(json!({ "plugin": folder.manifest.name, "folder": dir, "findings": findings.iter().map(|f| {
                json!({ "file": f.file, "line": f.line, "column": f.column, "message": f.message })
            }).collect::<Vec<_>>() }));
            continue;
        }
        for finding in &findings {
            println!("{}:{finding}", dir.join(&finding.file).display());
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "plugins": all, "findings": count }))?);
    } else if count == 0 {
        println!("{}: nothing found", if options.dirs.len() == 1 { "1 plugin" } else { "all plugins" });
    } else {
        println!("{count} {}", if count == 1 { "finding" } else { "findings" });
    }
    Ok(count == 0)
}

fn folder_findings(folder: &Folder) -> anyhow::Result<Vec<Finding>> {
    let mut findings = match folder.manifest.engine {
        Engine::Lua => lua::findings(folder)?,
        Engine::Wasm => wasm::findings(folder)?,
    };
    // What reading finds says where it stands; what loading finds may be the same again.
    if findings.is_empty() {
        findings.extend(loads(folder)?);
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Whether the host takes it at all. A configuration that it needs is the region file's business.
fn loads(folder: &Folder) -> anyhow::Result<Option<Finding>> {
    // What it is granted names sections of a region file, which there is none of here.
    let role = Role { capabilities: Vec::new(), ..folder.role()? };
    let mut stage = Stage::new(role);
    let played = stage.play(&unit::question("/"));
    let refused = played.findings.iter().find(|finding| finding.what == "the case");
    let Some(refused) = refused else { return Ok(None) };
    Ok(Some(match folder.manifest.engine {
        Engine::Lua => placed(folder, &refused.found),
        Engine::Wasm => whole(manifest::FILE, &refused.found),
    }))
}

fn whole(file: &str, message: &str) -> Finding {
    Finding { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() }
}

/// The engine's messages name a file of the plugin and its line: `main.lua:7: …`.
fn placed(folder: &Folder, message: &str) -> Finding {
    for (file, _) in lua_files(&folder.path) {
        let Some((_, after)) = message.rsplit_once(&format!("{file}:")) else { continue };
        if let Some((line, rest)) = after.split_once(':')
            && let Ok(line) = line.parse()
        {
            return Finding { file, line, column: 1, message: rest.trim().to_owned() };
        }
    }
    whole("main.lua", message)
}

impl std::fmt::Display for Finding {
    /// Without the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, " {}", self.message),
            line => write!(f, "{line}:{}: {}", self.column, self.message),
        }
    }
}
