//! `forebay check` and `forebay schema`.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::region::{self, Unfit};

/// Everything that `run` would refuse, plugins included; nothing is bound or started.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let region = region::load(file)?;
    edge::Edge::check(&region).map_err(Unfit::from)?;
    let counts = [(region.routes.len(), "route"), (region.plugins.len(), "plugin"), (region.pools.len(), "pool")];
    let counts = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    println!("{}: ok, {}", file.display(), counts.join(", "));
    Ok(())
}

/// The JSON Schema of region files, for editors.
pub fn schema() -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&config::schema())?;
    match writeln!(std::io::stdout(), "{text}") {
        // `| head`: who reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
