//! The filter of `plugins/lua/header-filter` as `abi::Plugin`s that are no part of the product: in
//! Rust, which is the floor, and in Lua through closures of mlua, which is how one would write an
//! engine in an afternoon.

use std::cell::RefCell;
use std::rc::Rc;

use abi::{Action, Callbacks, ContextId, Event, Fault, Host, Instance, Map, Plugin, Verdict};

const BOTH: Callbacks = Callbacks::REQUEST_HEADERS.union(Callbacks::RESPONSE_HEADERS);

/// One exchange at a time, as the bench has it.
type Now = Rc<RefCell<Option<Rc<dyn Host>>>>;

pub struct InRust;

impl Plugin for InRust {
    fn callbacks(&self) -> Callbacks {
        BOTH
    }

    fn shares(&self) -> bool {
        true
    }

    fn instantiate(&self, _: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(RustInstance { host: None }))
    }
}

struct RustInstance {
    host: Option<Rc<dyn Host>>,
}

/// The first value of a header, copied: what a script gets is a copy too.
fn get(host: &dyn Host, name: &[u8]) -> Vec<u8> {
    let mut first: Option<Vec<u8>> = None;
    let _ = host.header(Map::RequestHeaders, name, &mut |value| {
        first.get_or_insert_with(|| value.to_vec());
    });
    first.unwrap_or_default()
}

impl Instance for RustInstance {
    fn open(&mut self, _: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        self.host = Some(host);
        Ok(())
    }

    fn call(&mut self, _: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        let Some(host) = &self.host else { return Ok(Action::Continue) };
        let host = &**host;
        match event {
            Event::RequestHeaders { .. } => {
                let (authority, agent, id) = (get(host, b":authority"), get(host, b"user-agent"), get(host, b"x-id"));
                let _ = host.set_header(Map::RequestHeaders, b"x-edge", &[&authority[..], b"/", &id].concat());
                let seen: &[u8] = if memchr::memmem::find(&agent, b"bot").is_some() { b"bot" } else { b"human" };
                let _ = host.set_header(Map::RequestHeaders, b"x-seen", seen);
            }
            Event::ResponseHeaders { .. } => {
                let _ = host.set_header(Map::ResponseHeaders, b"x-served-by", b"forebay");
                let _ = host.remove_header(Map::ResponseHeaders, b"server");
            }
            _ => {}
        }
        Ok(Action::Continue)
    }

    fn close(&mut self, _: ContextId) {
        self.host = None;
    }

    fn memory(&self) -> abi::Memory {
        abi::Memory::default()
    }

    fn work(&self) -> abi::Work {
        abi::Work::default()
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// The script of the product's own plugin, on closures of mlua with the names of `forebay`.
pub struct InMlua {
    pub script: String,
}

impl Plugin for InMlua {
    fn callbacks(&self) -> Callbacks {
        BOTH
    }

    fn shares(&self) -> bool {
        true
    }

    fn instantiate(&self, _: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        start(&self.script).map_err(|error| Fault::new(Verdict::Config, error.to_string()))
    }
}

fn start(script: &str) -> mlua::Result<Box<dyn Instance>> {
    let lua = mlua::Lua::new();
    let now: Now = Rc::default();
    let forebay = lua.create_table()?;
    for (name, map) in [("request", Map::RequestHeaders), ("response", Map::ResponseHeaders)] {
        let headers = lua.create_table()?;
        let host = now.clone();
        let get = lua.create_function(move |lua, name: mlua::LuaString| {
            let host = host.borrow();
            let mut first = None;
            if let Some(host) = &*host {
                let _ = host.header(map, &name.as_bytes(), &mut |value| {
                    if first.is_none() {
                        first = Some(lua.create_string(value));
                    }
                });
            }
            first.transpose()
        })?;
        headers.set("get", get)?;
        let host = now.clone();
        let set = lua.create_function(move |_, (name, value): (mlua::LuaString, mlua::LuaString)| {
            let host = host.borrow();
            Ok(host.as_ref().is_some_and(|host| host.set_header(map, &name.as_bytes(), &value.as_bytes()).is_ok()))
        })?;
        headers.set("set", set)?;
        let host = now.clone();
        let remove = lua.create_function(move |_, name: mlua::LuaString| {
            let host = host.borrow();
            Ok(host.as_ref().is_some_and(|host| host.remove_header(map, &name.as_bytes()).is_ok()))
        })?;
        headers.set("remove", remove)?;
        let side = lua.create_table()?;
        side.set("headers", headers)?;
        forebay.set(name, side)?;
    }
    lua.globals().set("forebay", forebay)?;
    let plugin: mlua::Table = lua.load(script).eval()?;
    let callbacks = [plugin.get("on_request_headers")?, plugin.get("on_response_headers")?];
    Ok(Box::new(MluaInstance { now, callbacks, _lua: lua }))
}

struct MluaInstance {
    now: Now,
    callbacks: [mlua::Function; 2],
    _lua: mlua::Lua,
}

impl Instance for MluaInstance {
    fn open(&mut self, _: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        *self.now.borrow_mut() = Some(host);
        Ok(())
    }

    fn call(&mut self, _: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        let (callback, end) = match event {
            Event::RequestHeaders { end_of_stream } => (&self.callbacks[0], end_of_stream),
            Event::ResponseHeaders { end_of_stream } => (&self.callbacks[1], end_of_stream),
            _ => return Ok(Action::Continue),
        };
        callback.call::<()>(end).map_err(|error| Fault::new(Verdict::Trap, error.to_string()))?;
        Ok(Action::Continue)
    }

    fn close(&mut self, _: ContextId) {
        *self.now.borrow_mut() = None;
    }

    fn memory(&self) -> abi::Memory {
        abi::Memory::default()
    }

    fn work(&self) -> abi::Work {
        abi::Work::default()
    }

    fn healthy(&self) -> bool {
        true
    }
}
