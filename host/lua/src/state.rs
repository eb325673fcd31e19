//! LuaJIT's C API: the calls that we use, as methods of one `Copy` handle.
//!
//! One file of many short methods, on purpose: nearly all `unsafe` of the crate stands here.
//!
//! The methods are safe functions on these terms, which the rest of the crate keeps:
//!
//! - a [`State`] is made from a live state, and used only by the thread that owns its VM and
//!   only while the VM lives (`State::new` and `State::open` are where that is promised);
//! - indices name slots that exist, and no more than 20 slots are pushed without
//!   [`State::reserve`];
//! - what can throw says so. "Throws for want of memory" cannot happen outside of running Lua
//!   code: the allocator does not fail there (see `vm/heap.rs`).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use mlua_sys as ffi;
pub use mlua_sys::{lua_CFunction as Function, lua_State as Raw};

// In LuaJIT, not in mlua-sys.
unsafe extern "C-unwind" {
    fn luaL_loadbufferx(
        l: *mut Raw,
        text: *const c_char,
        len: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    fn luaL_traceback(l: *mut Raw, of: *mut Raw, message: *const c_char, level: c_int);
    fn lua_isyieldable(l: *mut Raw) -> c_int;
    // Of our build (see `luajit-sys/build.rs`).
    fn forebay_collections(l: *mut Raw) -> u64;
    fn forebay_machine_code(l: *mut Raw) -> usize;
}

/// A value kept alive in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ref(c_int);

impl Ref {
    pub const NONE: Ref = Ref(ffi::LUA_NOREF);

    pub fn is_some(self) -> bool {
        self != Ref::NONE
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    None,
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::None => "missing",
            Kind::Nil => "nil",
            Kind::Boolean => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Userdata => "userdata",
            Kind::Thread => "coroutine",
        }
    }
}

/// How a coroutine came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    Done,
    Yielded,
    /// The error value is on top.
    Failed,
    OutOfMemory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(*mut Raw);

/// The globals table, for the calls that take an index.
pub const GLOBALS: c_int = ffi::LUA_GLOBALSINDEX;
pub const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;

/// Writes one of the forwarding methods: all hold by the terms in the head of this file.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) = $call:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(self, $($arg: $kind),*) {
                // SAFETY: the state is live and ours, the indices exist (terms of this file).
                unsafe { ffi::$call(self.0, $($arg),*) };
            }
        )*
    };
}

impl State {
    forward! {
        set_top(top: c_int) = lua_settop;
        push_nil() = lua_pushnil;
        push_number(number: f64) = lua_pushnumber;
        push_copy(index: c_int) = lua_pushvalue;
        insert(index: c_int) = lua_insert;
        replace(index: c_int) = lua_replace;
        new_table(array: c_int, hash: c_int) = lua_createtable;
        /// `table[key] = value`, both on top of the stack.
        raw_set(table: c_int) = lua_rawset;
        raw_set_index(table: c_int, at: c_int) = lua_rawseti_;
        /// Replaces the key on top by `table[key]`.
        raw_get(table: c_int) = lua_rawget_;
        raw_get_index(table: c_int, at: c_int) = lua_rawgeti_;
        concat(values: c_int) = lua_concat;
    }

    /// # Safety
    /// The pointer is a live state, used by this thread alone, for as long as the handle is used.
    #[inline]
    pub unsafe fn new(raw: *mut Raw) -> State {
        State(raw)
    }

    /// A new main state; `None` if the allocator gave nothing.
    ///
    /// # Safety
    /// `allocate` works with `data` until [`State::close`].
    pub unsafe fn open(allocate: ffi::lua_Alloc, data: *mut c_void) -> Option<State> {
        // SAFETY: promised by the caller.
        let raw = unsafe { ffi::lua_newstate(allocate, data) };
        (!raw.is_null()).then_some(State(raw))
    }

    /// Ends the whole VM: no handle to it may be used again.
    pub fn close(self) {
        // SAFETY: the state is live (terms of this file).
        unsafe { ffi::lua_close(self.0) };
    }

    pub fn raw(self) -> *mut Raw {
        self.0
    }

    /// What [`State::open`] was given as `data`.
    #[inline]
    pub fn data(self) -> *mut c_void {
        let mut data = ptr::null_mut();
        // SAFETY: the state is live; `data` is ours to be written.
        unsafe { ffi::lua_getallocf(self.0, &mut data) };
        data
    }

    #[inline]
    pub fn top(self) -> c_int {
        // SAFETY: the state is live.
        unsafe { ffi::lua_gettop(self.0) }
    }

    #[inline]
    pub fn pop(self, values: c_int) {
        self.set_top(-values - 1);
    }

    /// Room for `slots` more values; false if the stack is at its end. One more is asked for: LuaJIT
    /// grows a stack as its last slot is filled, and at the end of its size it throws there.
    pub fn reserve(self, slots: c_int) -> bool {
        // SAFETY: the state is live.
        unsafe { ffi::lua_checkstack(self.0, slots + 1) != 0 }
    }

    #[inline]
    pub fn push_bool(self, value: bool) {
        // SAFETY: the state is live.
        unsafe { ffi::lua_pushboolean(self.0, value.into()) };
    }

    #[inline]
    pub fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }

    pub fn push_function(self, function: Function) {
        // SAFETY: the state is live.
        unsafe { ffi::lua_pushcclosure(self.0, function, 0) };
    }

    /// A value that equals no other, without memory of its own.
    pub fn push_mark(self, mark: *mut c_void) {
        // SAFETY: the pointer is a name, never followed.
        unsafe { ffi::lua_pushlightuserdata(self.0, mark) };
    }

    #[inline]
    pub fn kind(self, index: c_int) -> Kind {
        // SAFETY: the state is live; an index past the top is `None`.
        match unsafe { ffi::lua_type(self.0, index) } {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            ffi::LUA_TTHREAD => Kind::Thread,
            _ => Kind::Userdata,
        }
    }

    /// The bytes of a string, or of a number (which becomes a string in its slot). They live as
    /// long as the value stays in its slot: the caller does not pop it while it looks.
    #[inline]
    pub fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        // SAFETY: the state is live; the string is anchored by its slot (see above).
        unsafe {
            let start = ffi::lua_tolstring(self.0, index, &mut len);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast::<u8>(), len))
        }
    }

    #[inline]
    pub fn number(self, index: c_int) -> f64 {
        // SAFETY: the state is live; what is no number counts as 0.
        unsafe { ffi::lua_tonumber(self.0, index) }
    }

    /// Whether it is a number, or a string that reads as one.
    pub fn is_number(self, index: c_int) -> bool {
        // SAFETY: the state is live.
        unsafe { ffi::lua_isnumber(self.0, index) != 0 }
    }

    #[inline]
    pub fn truth(self, index: c_int) -> bool {
        // SAFETY: the state is live.
        unsafe { ffi::lua_toboolean(self.0, index) != 0 }
    }

    pub fn length(self, index: c_int) -> usize {
        // SAFETY: the state is live.
        unsafe { ffi::lua_objlen(self.0, index) }
    }

    /// Whether two values are the same, without metamethods.
    pub fn same(self, a: c_int, b: c_int) -> bool {
        // SAFETY: the state is live, the indices exist.
        unsafe { ffi::lua_rawequal(self.0, a, b) != 0 }
    }

    /// Replaces the key on top by the next key and its value; pops it and answers false at the
    /// end. The key must be one of the table.
    pub fn next(self, table: c_int) -> bool {
        // SAFETY: the state is live; the key came from this table.
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// Pushes `table.name` without metamethods.
    pub fn raw_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { self.top() + 1 + table } else { table };
        self.push_bytes(name.as_bytes());
        self.raw_get(table);
    }

    /// Pops a value and sets `table.name` to it, without metamethods.
    pub fn raw_set_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { self.top() + 1 + table } else { table };
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(table);
    }

    /// Pops a table and makes it the metatable of the value at `index`.
    pub fn set_metatable(self, index: c_int) {
        // SAFETY: the state is live.
        unsafe { ffi::lua_setmetatable(self.0, index) };
    }

    /// Pushes the metatable, if there is one.
    pub fn metatable(self, index: c_int) -> bool {
        // SAFETY: the state is live.
        unsafe { ffi::lua_getmetatable(self.0, index) != 0 }
    }

    /// Pops a table and makes it the environment of the function at `index`.
    pub fn set_environment(self, index: c_int) {
        // SAFETY: the state is live.
        unsafe { ffi::lua_setfenv(self.0, index) };
    }

    /// Pops a value and keeps it.
    pub fn keep(self) -> Ref {
        // SAFETY: the state is live.
        Ref(unsafe { ffi::luaL_ref(self.0, REGISTRY) })
    }

    pub fn release(self, kept: Ref) {
        // SAFETY: the state is live; releasing `NONE` does nothing.
        unsafe { ffi::luaL_unref(self.0, REGISTRY, kept.0) };
    }

    #[inline]
    pub fn push_kept(self, kept: Ref) {
        self.raw_get_index(REGISTRY, kept.0);
    }

    /// Compiles text (never bytecode) and pushes the function, or the message and false.
    pub fn compile(self, text: &[u8], name: &CStr) -> bool {
        // SAFETY: Lua copies what it keeps; errors come back as a status.
        unsafe {
            luaL_loadbufferx(self.0, text.as_ptr().cast(), text.len(), name.as_ptr(), c"t".as_ptr()) == ffi::LUA_OK
        }
    }

    /// Calls the function under its arguments; on false the error is on top.
    pub fn call_protected(self, arguments: c_int, results: c_int) -> bool {
        // SAFETY: the state is live; errors come back as a status.
        unsafe { ffi::lua_pcall(self.0, arguments, results, 0) == ffi::LUA_OK }
    }

    /// Pushes a new coroutine and gives its state.
    pub fn new_coroutine(self) -> State {
        // SAFETY: the state is live; the coroutine lives as long as it is kept.
        State(unsafe { ffi::lua_newthread(self.0) })
    }

    /// Runs a coroutine from the host.
    #[inline]
    pub fn resume(self, arguments: c_int) -> Resumed {
        // SAFETY: the state is live and not running: hosts resume what has finished or yielded.
        match unsafe { ffi::lua_resume_(self.0, arguments) } {
            ffi::LUA_OK => Resumed::Done,
            ffi::LUA_YIELD => Resumed::Yielded,
            ffi::LUA_ERRMEM => Resumed::OutOfMemory,
            _ => Resumed::Failed,
        }
    }

    /// What a C function returns to yield without values; in a hook it unwinds instead.
    ///
    /// # Safety
    /// The caller is the outermost frame of a C function or hook, holds nothing with a `Drop`,
    /// and returns the result at once.
    pub unsafe fn suspend(self) -> c_int {
        // SAFETY: promised by the caller.
        unsafe { ffi::lua_yield(self.0, 0) }
    }

    /// Raises the value on top.
    ///
    /// # Safety
    /// The caller is the outermost frame of a C function or hook and holds nothing with a `Drop`.
    pub unsafe fn raise(self) -> ! {
        // SAFETY: promised by the caller.
        unsafe { ffi::lua_error(self.0) }
    }

    pub fn can_suspend(self) -> bool {
        // SAFETY: the state is live.
        unsafe { lua_isyieldable(self.0) != 0 }
    }

    /// Pushes `file:line: ` of the function that is `level` calls away, or an empty string.
    pub fn push_place(self, level: c_int) {
        // SAFETY: the state is live.
        unsafe { ffi::luaL_where(self.0, level) };
    }

    /// Pushes the traceback of a coroutine.
    pub fn push_traceback(self, of: State) {
        // SAFETY: both states are live and of one VM.
        unsafe { luaL_traceback(self.0, of.0, ptr::null(), 0) };
    }

    /// Opens one of LuaJIT's own libraries. Throws.
    pub fn open_library(self, open: Function, name: &CStr) -> bool {
        self.push_function(open);
        // SAFETY: a literal with a NUL.
        unsafe { ffi::lua_pushstring_(self.0, name.as_ptr()) };
        self.call_protected(1, 0)
    }

    /// Cycles that the collector has finished.
    pub fn collections(self) -> u64 {
        // SAFETY: the state is live.
        unsafe { forebay_collections(self.0) }
    }

    /// Bytes of machine code that the VM has mapped.
    pub fn machine_code(self) -> usize {
        // SAFETY: the state is live.
        unsafe { forebay_machine_code(self.0) }
    }

    pub fn collect(self) {
        self.collector(ffi::LUA_GCCOLLECT, 0);
    }

    /// `pause` and `stepmul` of the collector, in percent.
    pub fn tune_collector(self, pause: c_int, stepmul: c_int) {
        self.collector(ffi::LUA_GCSETPAUSE, pause);
        self.collector(ffi::LUA_GCSETSTEPMUL, stepmul);
    }

    fn collector(self, what: c_int, value: c_int) {
        // SAFETY: the state is live. No finalizer of a tenant exists (`newproxy` is removed).
        unsafe { ffi::lua_gc(self.0, what, value) };
    }
}

/// Makes the VM of `state` call `hook` before its next instruction. A signal handler may do this.
///
/// # Safety
/// The VM lives until this returns.
pub unsafe fn arm(state: *mut Raw, hook: ffi::lua_Hook) {
    // SAFETY: LuaJIT allows this call asynchronously; the VM lives (promised).
    unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, 1) };
}

/// # Safety
/// The VM lives until this returns.
pub unsafe fn disarm(state: *mut Raw) {
    // SAFETY: as in `arm`.
    unsafe { ffi::lua_sethook(state, None, 0, 0) };
}
