//! Everything that a plugin's environment refers to, walked with LuaJIT's own eyes: through sealed
//! tables, hidden metatables, environments of functions, and upvalues of the prelude's functions,
//! which no script can look into.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, c_void};
use std::sync::Arc;

use mlua_sys as ffi;

use crate::source::Source;
use crate::state::{GLOBALS, Raw};
use crate::vm::Vm;

/// C functions of LuaJIT's that nothing may even hold, each by the global that it is in plain LuaJIT.
/// (Those that are written in assembler have no address; `walked` looks for their names.)
fn forbidden() -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    // SAFETY: a state of our own, used on this thread, closed at the end; every slot is popped.
    unsafe {
        let l = ffi::luaL_newstate();
        ffi::luaL_openlibs(l);
        let allowed = ["os.clock", "os.time", "os.difftime"];
        for library in ["io", "os", "debug", "package", "jit", "jit.opt", "jit.util", "ffi", "_G"] {
            let name = std::ffi::CString::new(library).unwrap();
            ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, c"_LOADED".as_ptr());
            ffi::lua_getfield(l, -1, name.as_ptr());
            if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
                ffi::lua_pushnil(l);
                while ffi::lua_next(l, -2) != 0 {
                    let key = CStr::from_ptr(ffi::lua_tolstring(l, -2, std::ptr::null_mut())).to_string_lossy();
                    let path = format!("{library}.{key}");
                    let of_base = library == "_G"
                        && ![
                            "dofile",
                            "loadfile",
                            "getfenv",
                            "setfenv",
                            "newproxy",
                            "collectgarbage",
                            "gcinfo",
                            "module",
                        ]
                        .contains(&&*key);
                    if let Some(function) = ffi::lua_tocfunction(l, -1)
                        && !of_base
                        && !allowed.contains(&path.as_str())
                    {
                        found.insert(function as usize, path);
                    }
                    ffi::lua_settop(l, -2);
                }
            }
            ffi::lua_settop(l, 0);
        }
        ffi::lua_getfield(l, ffi::LUA_GLOBALSINDEX, c"string".as_ptr());
        ffi::lua_getfield(l, -1, c"dump".as_ptr());
        found.insert(ffi::lua_tocfunction(l, -1).unwrap() as usize, "string.dump".to_owned());
        ffi::lua_close(l);
    }
    found
}

/// What was found, and where first.
#[derive(Default)]
struct Walk {
    seen: HashSet<*const c_void>,
    /// By kind of value.
    kinds: BTreeMap<&'static str, usize>,
    functions: BTreeMap<usize, String>,
    strange: BTreeSet<String>,
}

impl Walk {
    /// Walks the value on top, and pops it.
    ///
    /// # Safety
    /// `l` is a live state that nothing else uses meanwhile.
    unsafe fn value(&mut self, l: *mut Raw, path: &str) {
        // SAFETY: promised by the caller; what is pushed is popped.
        unsafe {
            assert_ne!(ffi::lua_checkstack(l, 20), 0, "{path}");
            let kind = match ffi::lua_type(l, -1) {
                ffi::LUA_TTABLE => "table",
                ffi::LUA_TFUNCTION => "function",
                ffi::LUA_TTHREAD => "thread",
                ffi::LUA_TUSERDATA => "userdata",
                ffi::LUA_TLIGHTUSERDATA => "mark",
                ffi::LUA_TSTRING => "string",
                ffi::LUA_TNUMBER | ffi::LUA_TBOOLEAN | ffi::LUA_TNIL => "plain",
                // Prototypes, traces, cdata: nothing that a script may hold.
                _ => "strange",
            };
            *self.kinds.entry(kind).or_default() += 1;
            if !matches!(kind, "string" | "plain") && self.seen.insert(ffi::lua_topointer(l, -1)) {
                match kind {
                    "table" => self.table(l, path),
                    "function" => self.function(l, path),
                    "mark" => {}
                    // The numbers that `math.random` goes on from: LuaJIT's own, with no metatable.
                    "userdata" if path.contains(".random<") || path.contains(".randomseed<") => {}
                    _ => drop(self.strange.insert(format!("{path}: {kind}"))),
                }
                if ffi::lua_getmetatable(l, -1) != 0 {
                    self.value(l, &format!("{path}<metatable>"));
                }
            }
            ffi::lua_settop(l, -2);
        }
    }

    /// # Safety
    /// As in [`Walk::value`]; the value on top is a table.
    unsafe fn table(&mut self, l: *mut Raw, path: &str) {
        // SAFETY: promised by the caller.
        unsafe {
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, -2) != 0 {
                let name = if ffi::lua_type(l, -2) == ffi::LUA_TSTRING {
                    CStr::from_ptr(ffi::lua_tolstring(l, -2, std::ptr::null_mut())).to_string_lossy().into_owned()
                } else {
                    "?".to_owned()
                };
                let path = format!("{path}.{name}");
                ffi::lua_pushvalue(l, -2);
                self.value(l, &format!("{path}<key>"));
                self.value(l, &path);
            }
        }
    }

    /// # Safety
    /// As in [`Walk::value`]; the value on top is a function.
    unsafe fn function(&mut self, l: *mut Raw, path: &str) {
        // SAFETY: promised by the caller.
        unsafe {
            if let Some(function) = ffi::lua_tocfunction(l, -1) {
                self.functions.entry(function as usize).or_insert_with(|| path.to_owned());
            }
            ffi::lua_getfenv(l, -1);
            self.value(l, &format!("{path}<environment>"));
            for at in 1.. {
                let name = ffi::lua_getupvalue(l, -1, at);
                if name.is_null() {
                    break;
                }
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                self.value(l, &format!("{path}<{name}>"));
            }
        }
    }
}

fn walked(vm: &Vm) -> Walk {
    let mut walk = Walk::default();
    let l = vm.main().raw();
    // SAFETY: the VM lives, and nothing runs in it.
    unsafe {
        ffi::lua_pushvalue(l, GLOBALS);
        walk.value(l, "_G");
        // A script's own function, as its file is compiled.
        assert!(vm.main().compile(b"local x = 1 return function() return x end", c"=main.lua"));
        walk.value(l, "main.lua");
        vm.main().push_bytes(b"");
        walk.value(l, "\"\"");
        vm.main().set_top(0);
    }
    walk
}

#[test]
fn nothing_that_a_script_can_reach_holds_what_it_must_not_have() {
    let forbidden = forbidden();
    assert!(forbidden.len() > 40, "{forbidden:?}");
    let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
    for when in ["start", "service"] {
        let walk = walked(&vm);
        println!("{when}: {:?}, {} C functions", walk.kinds, walk.functions.len());
        assert!(walk.kinds["table"] > 50 && walk.kinds["function"] > 150, "the walk saw little: {:?}", walk.kinds);
        assert!(walk.strange.is_empty(), "{:?}", walk.strange);
        let reached: Vec<_> = walk
            .functions
            .iter()
            .filter_map(|(function, path)| Some(format!("{} by {path}", forbidden.get(function)?)))
            .collect();
        assert!(reached.is_empty(), "{when}: {reached:#?}");
        vm.freeze().unwrap();
    }
}

/// The walk finds what is there: with one forbidden function deep in an upvalue.
#[test]
fn the_walk_sees_into_upvalues_and_environments() {
    let forbidden = forbidden();
    let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
    let l = vm.main().raw();
    // SAFETY: the VM lives; a debug library of its own goes into an upvalue of a global function.
    unsafe {
        vm.main().open_library(ffi::luaopen_debug, c"debug");
        ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, c"_LOADED".as_ptr());
        assert!(
            vm.main()
                .compile(b"local d = (...).debug.getregistry debug = nil innocent = function() return d end", c"=x")
        );
        vm.main().insert(-2);
        assert!(vm.main().call_protected(1, 0));
        vm.main().set_top(0);
    }
    let walk = walked(&vm);
    let found: Vec<_> =
        walk.functions.iter().filter(|(f, _)| forbidden.contains_key(f)).map(|(_, path)| path).collect();
    assert!(found.iter().any(|path| path.contains("innocent")), "{found:?}");
}
