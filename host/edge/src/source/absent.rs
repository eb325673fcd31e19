//! What stands in a chain for a module that has not come yet: it does not start, and its fault policy
//! says what becomes of the exchange.

use std::rc::Rc;

use abi::{Callbacks, Fault, Host, Instance, Plugin, Verdict};

pub struct Absent {
    /// Where it is to come from.
    from: String,
}

/// The version of a plugin that is not there.
pub const VERSION: &str = "absent";

impl Absent {
    pub fn new(remote: &config::Remote) -> Absent {
        Absent { from: remote.to_string() }
    }
}

impl Plugin for Absent {
    /// Whatever it will have, no exchange goes by it.
    fn callbacks(&self) -> Callbacks {
        Callbacks::REQUEST_HEADERS.union(Callbacks::RESPONSE_HEADERS)
    }

    fn instantiate(&self, _: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        let text = format!("its module has not come yet from {}; /plugins at the admin address says why", self.from);
        Err(Fault::new(Verdict::Config, text))
    }
}
