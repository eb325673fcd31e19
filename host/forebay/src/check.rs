//! `forebay check` and `forebay schema`.

use std::io::{ErrorKind, Write};
use std::path::Path;

use abi::Capabilities;
use abi::capability::Plain;
use config::{PluginCode, Region, manifest};

use crate::region::{self, Unfit};

/// Everything that `run` would refuse, plugins included; nothing is bound or started, and nothing
/// fetched: of a module at https:// or oci:// only the form is checked, and its key and roots. Tells of the rules of
/// time when they will fire.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let region = region::load(file)?;
    edge::Edge::check(&region).map_err(Unfit::from)?;
    wishes(&region)?.iter().for_each(|wish| eprintln!("{}: {wish}", file.display()));
    for plugin in region.plugins.values() {
        if let PluginCode::Remote(remote) = &plugin.code {
            eprintln!("{}: plugin {:?}: {remote} is not fetched by a check", file.display(), plugin.name);
        }
    }
    let counts = [(region.routes.len(), "route"), (region.plugins.len(), "plugin"), (region.pools.len(), "pool")];
    let counts = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    let outlook = config::outlook::outlook(&region, jiff::Timestamp::now());
    print(&format!("{}: ok, {}\n{outlook}", file.display(), counts.join(", ")))
}

/// `| head`: who reads has read enough.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// What plugins ask for in their `plugin.yaml` and the file does not grant: it may mean to.
fn wishes(region: &Region) -> Result<Vec<String>, Unfit> {
    let mut wishes = Vec::new();
    for plugin in region.plugins.values() {
        let file = plugin.code.folder().map(|folder| folder.join(manifest::FILE));
        let Some(file) = file.filter(|file| file.is_file()) else { continue };
        let manifest = manifest::load(&file)
            .map_err(|errors| Unfit { errors: errors.iter().map(ToString::to_string).collect() })?;
        let granted = Capabilities::parse(plugin.capabilities.iter().map(String::as_str)).unwrap_or_default();
        let has = |word: &str| match Plain::ALL.into_iter().find(|plain| plain.name() == word) {
            Some(plain) => granted.has(plain),
            None => plugin.capabilities.iter().any(|given| given == word),
        };
        for (word, _) in manifest.capabilities.iter().filter(|(word, _)| !has(word)) {
            wishes.push(format!("plugin {:?} asks for the capability {word}, which is not granted", plugin.name));
        }
    }
    Ok(wishes)
}

/// The JSON Schema of region files, for editors.
pub fn schema() -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(&config::schema())? + "\n"))
}
