//! How a module begins: what it needs to be called at all, and its own start.

use std::rc::Rc;

use wasmtime::{Extern, ExternType, Instance, Module, ModuleExport, Store};

use crate::exports::ALLOCATORS;
use crate::state::State;
use crate::wasi::Exit;

const MAINS: [&str; 3] = ["main", "__main_argc_argv", "__main_void"];

/// Where a module has what is called once, looked up by name when it was loaded.
pub struct Begin {
    memory: Option<ModuleExport>,
    allocate: Option<ModuleExport>,
    initialize: Option<ModuleExport>,
    /// Where an SDK has put its own start behind `_initialize`.
    main: Option<ModuleExport>,
    /// Of a command, in place of those.
    start: Option<ModuleExport>,
    hears_timers: bool,
    hears_replies: bool,
}

impl Begin {
    pub fn of(module: &Module) -> Begin {
        let first = |names: &[&str]| names.iter().find_map(|name| module.get_export_index(name));
        let is_function = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
        let hears = |export| first(&[export, "proxy_on_foreign_function"]).is_some();
        Begin {
            memory: first(&["memory"]),
            allocate: first(&ALLOCATORS),
            initialize: first(&["_initialize"]),
            main: MAINS.into_iter().filter(|name| is_function(name)).find_map(|name| module.get_export_index(name)),
            start: first(&["_start"]),
            hears_timers: hears("forebay_on_timer"),
            hears_replies: hears("forebay_on_reply"),
        }
    }

    /// `_initialize` (and `main`), or `_start`.
    pub fn run(&self, instance: &Instance, store: &mut Store<State>) -> wasmtime::Result<()> {
        let at = |place: &Option<ModuleExport>, store: &mut Store<State>| {
            instance.get_module_export(&mut *store, place.as_ref()?)
        };
        let memory = at(&self.memory, store).and_then(Extern::into_memory);
        let allocate = at(&self.allocate, store).and_then(Extern::into_func);
        let allocate = allocate.and_then(|function| function.typed(&*store).ok().map(Rc::new));
        let state = store.data_mut();
        (state.memory, state.allocate) = (memory, allocate);
        (state.hears_timers, state.hears_replies) = (self.hears_timers, self.hears_replies);
        let function = |place, store: &mut Store<State>| at(place, store).and_then(Extern::into_func);
        let Some(initialize) = function(&self.initialize, store) else {
            let Some(start) = function(&self.start, store) else { return Ok(()) };
            return match start.typed::<(), ()>(&*store)?.call(store, ()) {
                // A command's `main` has returned; its callbacks are called all the same.
                Err(error) if matches!(error.downcast_ref(), Some(Exit(0))) => Ok(()),
                other => other,
            };
        };
        initialize.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
        let Some(main) = function(&self.main, store) else { return Ok(()) };
        if let Ok(main) = main.typed::<(i32, i32), i32>(&*store) {
            main.call(&mut *store, (0, 0))?;
        } else if let Ok(main) = main.typed::<(), i32>(&*store) {
            main.call(&mut *store, ())?;
        }
        Ok(())
    }
}
