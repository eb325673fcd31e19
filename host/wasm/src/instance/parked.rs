//! A start on one thread, and the worker on another that gets what has started.

use std::rc::Rc;

use abi::{Fault, Host, Started};

use super::Running;

/// An instance that has started, on its way to the worker that will own it.
pub struct Parked(Running);

// SAFETY: one thread at a time has it, as it is moved and never shared. wasmtime's stores and what is of
// them may change threads while no guest runs (`Store<T>` is `Send` where `T` is). Of what `State` holds
// that is not `Send`, hosts are let go of by `park`, and the guest's allocator is in an `Rc` of which the
// state has the only count: copies live in calls.
#[allow(unsafe_code)]
unsafe impl Send for Parked {}

impl Started for Parked {
    fn adopt(mut self: Box<Self>, host: Rc<dyn Host>) -> Result<Box<dyn abi::Instance>, Fault> {
        self.0.store.data_mut().adopt(host);
        Ok(Box::new(self.0))
    }
}

impl Running {
    /// Lets go of who answered for the start.
    pub fn park(mut self) -> Parked {
        self.store.data_mut().park();
        Parked(self)
    }
}
