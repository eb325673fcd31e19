//! The region file: loaded, or everything that makes it unfit.

use std::path::Path;
use std::sync::Arc;

use config::Region;

/// The file, or what it names, is not fit to run: exit code 64. One error a line.
#[derive(Clone, Debug)]
pub struct Unfit {
    pub errors: Vec<String>,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.errors.join("\n"))
    }
}

impl std::error::Error for Unfit {}

impl Unfit {
    pub fn one(error: impl ToString) -> Unfit {
        Unfit { errors: vec![error.to_string()] }
    }
}

impl From<edge::StartError> for Unfit {
    fn from(error: edge::StartError) -> Unfit {
        Unfit { errors: error.errors }
    }
}

pub fn load(file: &Path) -> Result<Arc<Region>, Unfit> {
    match config::load(file) {
        Ok(region) => Ok(Arc::new(region)),
        Err(errors) => Err(Unfit { errors: errors.iter().map(ToString::to_string).collect() }),
    }
}
