//! An error, for people: what was said, where, and the lines of the source around it.

use std::path::Path;

use super::faults::Fault;

/// Lines before and after the one that is meant.
const AROUND: usize = 3;

/// A fault of the plugin.
pub fn fault(fault: &Fault, dir: &Path) -> String {
    let mut text = format!("{} in {}\n\n{}\n", fault.verdict, fault.callback, fault.message);
    if !fault.trace.is_empty() {
        text.push_str(&format!("\n{}\n", fault.trace.trim_end()));
    }
    let said = format!("{}\n{}", fault.message, fault.trace);
    text + &source(&said, dir)
}

/// A version that was not taken.
pub fn refused(errors: &str, dir: &Path) -> String {
    let text = format!("the plugin as it is now was not taken; the version before it serves on\n\n{errors}\n");
    text + &source(errors, dir)
}

/// The lines around the first place in Lua that a message names: `main.lua:7:`.
fn source(said: &str, dir: &Path) -> String {
    for (at, _) in said.match_indices(".lua:") {
        let begin = said[..at].rfind(|c: char| c.is_whitespace() || "\"'([".contains(c)).map_or(0, |i| i + 1);
        let file = &said[begin..at + ".lua".len()];
        let digits = said[at + ".lua:".len()..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let Ok(line) = digits.parse::<usize>() else { continue };
        // A name beside the plugin, or a whole path to it: nothing outside of the folder is shown.
        let path = dir.join(file.strip_prefix("./").unwrap_or(file));
        let inside = path.canonicalize().is_ok_and(|path| path.starts_with(dir));
        let Some(text) = inside.then(|| std::fs::read_to_string(&path).ok()).flatten() else { continue };
        let name = path.strip_prefix(dir).unwrap_or(&path).display();
        let mut shown = format!("\n{name}\n");
        for (number, source) in text.lines().enumerate().map(|(i, source)| (i + 1, source)) {
            if number + AROUND >= line && number <= line + AROUND {
                let mark = if number == line { '>' } else { ' ' };
                shown.push_str(&format!("{mark} {number:>4}  {source}\n"));
            }
        }
        return shown;
    }
    String::new()
}

/// For a browser.
pub fn html(text: &str) -> String {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (first, rest) = safe.split_once('\n').unwrap_or((&safe, ""));
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{first}</title>\
         <body style=\"font: 16px/1.5 sans-serif; margin: 3em\"><h1 style=\"color: #b00020\">{first}</h1>\
         <pre style=\"font-size: 14px; white-space: pre-wrap\">{rest}</pre>\n"
    )
}
