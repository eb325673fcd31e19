//! What a pool's engine learned, as bytes for a disk: a restart goes on where it was.
//!
//! The bytes are a version's own (`postcard`, which writes no names): those of another are not read, and what
//! they held is learned again from the points of the past two weeks.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Of the layout of [`Engine`] and all in it, and of what it means. A test fails if the layout changes and this
/// does not.
pub const VERSION: u32 = 6;

/// Opaque to whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub version: u32,
    pub bytes: Vec<u8>,
}

/// What is in the bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// What one origin was taken to carry: the unit of all that was learned.
    pub unit: String,
    /// The first step that the engine was not told of.
    pub next: i64,
    pub engine: Engine,
    /// That of the warm lead, where there is a warm pool.
    pub warm: Option<Engine>,
    pub beside: Beside,
}

/// What the pool learned beside its engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// How long origins took.
    pub lead: crate::lead::Learned,
    /// What one carried, where that is learned.
    pub capacity: Option<crate::capacity::Kept>,
}

impl Learned {
    /// `None` if it cannot be written down, which no engine has been seen to do.
    pub fn written(&self) -> Option<Checkpoint> {
        Some(Checkpoint { version: VERSION, bytes: postcard::to_allocvec(self).ok()? })
    }

    /// Why it is of no use here otherwise.
    pub fn read(checkpoint: &Checkpoint) -> Result<Learned, String> {
        if checkpoint.version != VERSION {
            return Err(format!("it is of version {}, and {VERSION} is read here", checkpoint.version));
        }
        let (learned, rest) = postcard::take_from_bytes::<Learned>(&checkpoint.bytes)
            .map_err(|error| format!("it cannot be read: {error}"))?;
        match rest.len() {
            0 => Ok(learned),
            more => Err(format!("{more} bytes too many")),
        }
    }
}
