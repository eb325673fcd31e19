//! A start on one thread, and the worker on another that gets what has started.

use std::rc::Rc;

use abi::{ContextId, Fault, Host, Instance, Started, Verdict};

use super::{Context, LuaInstance};
use crate::state::Ref;
use crate::vm::{Asking, Stage};

/// An instance that has started, on its way to the worker that will own it.
pub struct Parked {
    instance: LuaInstance,
    /// The table behind `ctx` of the plugin context.
    locals: Ref,
}

// SAFETY: one thread at a time has it, as it is moved and never shared. Of what belongs to a thread it has
// nothing: the watch is taken out by `park`, and of hosts and contexts, the only `Rc`s, none is left. No Lua
// runs in it, and LuaJIT has no state outside of its VM; the allocator is the process's. (What FFI loads
// may: trusted plugins are never parked, see `LuaPlugin::start`.)
unsafe impl Send for Parked {}

impl Started for Parked {
    fn adopt(self: Box<Self>, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        let Parked { mut instance, locals } = *self;
        instance.vm.watch().map_err(|why| Fault::new(Verdict::Panic, why))?;
        let asking = Asking::new(host, Stage::Start, true);
        asking.locals.set(locals);
        instance.contexts.insert(ContextId::PLUGIN, Context { asking, waiting: Vec::new() });
        Ok(Box::new(instance))
    }
}

impl LuaInstance {
    /// Lets go of all that belongs to this thread: the watch, and who answered for the start.
    pub fn park(mut self) -> Parked {
        self.vm.unwatch();
        let context = self.contexts.remove(&ContextId::PLUGIN);
        let locals = context.map_or(Ref::NONE, |context| context.asking.locals.get());
        Parked { instance: self, locals }
    }
}
