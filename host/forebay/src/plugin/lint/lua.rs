//! The files of a Lua plugin, read without running them.

use std::collections::BTreeMap;
use std::path::Path;

use full_moon::LuaVersion;

use super::Finding;
use super::reach;
use super::scope::{self, World};
use super::surface::{self, Surface};
use crate::plugin::folder::Folder;
use crate::plugin::scratch::lua_files;
use crate::plugin::test::unit;

/// Bytes of a file that the engine reads; a longer one it refuses itself.
const MAX_FILE: u64 = 64 << 10;
/// The parser works by recursion, and a file of brackets would take all of a usual stack.
const STACK: usize = 512 << 20;
/// LuaJIT takes no deeper ones either.
const DEPTH: usize = 200;

const ALLOW: &str = "lint: allow";

pub fn findings(folder: &Folder) -> anyhow::Result<Vec<Finding>> {
    let mut texts = BTreeMap::new();
    for (name, path) in lua_files(&folder.path) {
        if name.ends_with(unit::SUFFIX) {
            continue;
        }
        if let Some(text) = read(&path) {
            texts.insert(name, text);
        }
    }
    let (surface, manifest) = (surface::ask(texts.values())?, folder.manifest.clone());
    let thread = std::thread::Builder::new().name("lint".into()).stack_size(STACK);
    let walked = thread.spawn(move || walk(&texts, surface, &manifest))?.join();
    walked.map_err(|_| anyhow::anyhow!("the linter panicked: this is our bug"))
}

/// What is no text, or too long, the engine refuses with its own words.
fn read(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let text = (found.is_file() && found.len() <= MAX_FILE).then(|| std::fs::read_to_string(path).ok()).flatten()?;
    // The engine passes over a byte order mark; the parser here does not.
    Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn walk(texts: &BTreeMap<String, String>, surface: Surface, manifest: &config::manifest::Manifest) -> Vec<Finding> {
    let mut world = World::new(surface);
    let mut parsed = BTreeMap::new();
    for (file, text) in texts {
        match parse(file, text) {
            Ok(ast) => {
                parsed.insert(file.clone(), ast);
            }
            Err(findings) => world.findings.extend(findings),
        }
    }
    world.parsed = parsed;
    let files: Vec<String> = world.parsed.keys().cloned().collect();
    // The main file first: what it requires is walked where it does.
    scope::walk(&mut world, "main.lua");
    files.iter().for_each(|file| drop(scope::walk(&mut world, file)));
    let mut findings = reach::findings(&world, manifest);
    findings.append(&mut world.findings);
    let allowed = |finding: &Finding| {
        let line =
            texts.get(&finding.file).and_then(|text| text.lines().nth((finding.line as usize).saturating_sub(1)));
        finding.line > 0 && line.is_some_and(|line| line.contains(ALLOW))
    };
    findings.retain(|finding| !allowed(finding));
    findings
}

fn parse(file: &str, text: &str) -> Result<full_moon::ast::Ast, Vec<Finding>> {
    if let Some(line) = too_deep(text) {
        let message = format!("nested deeper than {DEPTH} levels");
        return Err(vec![Finding { file: file.to_owned(), line, column: 1, message }]);
    }
    let result = full_moon::parse_fallible(text, LuaVersion::luajit());
    if result.errors().is_empty() {
        return Ok(result.into_ast());
    }
    let finding = |error: &full_moon::Error| {
        let (from, _) = error.range();
        let message = format!("syntax: {}", error.error_message());
        Finding { file: file.to_owned(), line: from.line() as u32, column: from.character() as u32, message }
    };
    // What follows from the first is noise.
    Err(result.errors().iter().take(1).map(finding).collect())
}

/// The line where brackets stand in each other deeper than the engine takes; strings and comments
/// count too, which nobody writes so.
fn too_deep(text: &str) -> Option<u32> {
    let (mut depth, mut line) = (0usize, 1);
    for byte in text.bytes() {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            b'\n' => line += 1,
            _ => {}
        }
        if depth > DEPTH {
            return Some(line);
        }
    }
    None
}
