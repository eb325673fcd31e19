//! A short name for what a file means, so that a record can say under which rules it was made.

use std::fmt::{self, Write};
use std::hash::Hasher;

use fnv::FnvHasher;

use super::Region;

impl Region {
    /// 16 hexadecimal digits, of all that decides how many origins there shall be: the pools, the calendars, the
    /// aggregator's tick and patience. It is of what the file means: comments, the order of keys and defaults that
    /// are written out change nothing, and neither does a route. The same file has the same digest in every run of
    /// the same build in the same folder (paths are absolute). FNV-1a, which nobody has to trust: it names, and
    /// does not protect.
    pub fn digest(&self) -> String {
        let times = self.aggregator.as_ref().map(|aggregator| (aggregator.tick, aggregator.stale_after));
        let mut into = Into(FnvHasher::default());
        // Infallible: a hasher takes everything.
        let _ = write!(into, "{times:?} {:?} {:?}", self.pools, self.calendars);
        format!("{:016x}", into.0.finish())
    }
}

struct Into(FnvHasher);

impl Write for Into {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
