//! `plugin.yaml`.

use crate::error::Errors;
use crate::manifest::Manifest;
use crate::raw::manifest as raw;

pub fn manifest(raw: &raw::Manifest, _: &mut Errors) -> Option<Manifest> {
    let lined = |text: &str, line: u32| (text.to_owned(), line);
    Some(Manifest {
        name: raw.name.as_ref()?.0.clone(),
        engine: raw.engine.as_ref()?.value,
        description: raw.description.0.clone(),
        config: raw.config.as_ref().map(|config| config.0.clone()),
        capabilities: raw.capabilities.iter().map(|c| lined(&c.value.0, c.place.line)).collect(),
        limits: raw.limits.as_ref().map(|limits| limits.json.clone()),
        callbacks: raw.callbacks.iter().map(|c| lined(&c.value.0, c.place.line)).collect(),
    })
}
