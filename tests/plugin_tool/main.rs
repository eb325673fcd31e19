//! `forebay plugin …`, run as its users run it.

mod bench;
mod lint;
mod new;
mod run;
mod test;
mod unit;

use std::path::Path;
use std::process::{Command, Output};

use harness::binary::forebay;
use harness::folder::Folder;

/// What the tool said, and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub errors: String,
}

pub fn tool(arguments: &[&str], dir: &Path) -> Said {
    let ran: Output = Command::new(forebay()).arg("plugin").args(arguments).arg(dir).output().expect("the binary runs");
    let said = Said {
        code: ran.status.code().expect("it is not ended by a signal"),
        out: String::from_utf8_lossy(&ran.stdout).into_owned(),
        errors: String::from_utf8_lossy(&ran.stderr).into_owned(),
    };
    assert!(!said.errors.contains("panicked"), "{}", said.errors);
    said
}

/// A Lua plugin in a folder of the test's own; `capabilities` as in plugin.yaml.
pub fn plugin(capabilities: &str, main: &str, spec: &str) -> Folder {
    let folder = Folder::new();
    folder.write("plugin.yaml", format!("name: tried\nengine: lua\ncapabilities: {capabilities}\n"));
    folder.write("main.lua", main);
    folder.write("spec.yaml", spec);
    folder
}
