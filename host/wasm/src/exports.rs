//! The callbacks that a module has. One that it lacks is not called.

use std::cell::OnceCell;

use abi::Callbacks;
use wasmtime::{
    AsContextMut, Extern, ExternType, FuncType, Instance, Module, ModuleExport, Store, StoreContextMut, TypedFunc,
    ValType, WasmParams, WasmResults,
};

use crate::state::{State, Version};

/// What allocates in the guest, in the order in which it is looked for.
pub const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

/// The exports that say which version a module speaks, newest first.
pub const VERSIONS: [(&str, Version); 3] = [
    ("proxy_abi_version_0_2_1", Version::V0_2_1),
    ("proxy_abi_version_0_2_0", Version::V0_2_0),
    ("proxy_abi_version_0_1_0", Version::V0_1_0),
];

/// Everything that is called if it is there: its name, how many `i32` it takes (the forms
/// that exist) and how many it returns.
pub const CALLBACKS: &[(&str, &[usize], usize)] = &[
    ("proxy_on_context_create", &[2], 0),
    ("proxy_on_vm_start", &[2], 1),
    ("proxy_on_configure", &[2], 1),
    ("proxy_on_tick", &[1], 0),
    ("proxy_on_queue_ready", &[2], 0),
    // Two in 0.1.0, three since 0.2.0. Which one it is, is told by the function's own type.
    ("proxy_on_request_headers", &[2, 3], 1),
    ("proxy_on_request_body", &[3], 1),
    ("proxy_on_request_trailers", &[2], 1),
    ("proxy_on_response_headers", &[2, 3], 1),
    ("proxy_on_response_body", &[3], 1),
    ("proxy_on_response_trailers", &[2], 1),
    ("proxy_on_http_call_response", &[5], 0),
    ("proxy_on_grpc_receive_initial_metadata", &[3], 0),
    ("proxy_on_grpc_receive", &[3], 0),
    ("proxy_on_grpc_receive_trailing_metadata", &[3], 0),
    ("proxy_on_grpc_close", &[3], 0),
    ("proxy_on_done", &[1], 1),
    ("proxy_on_log", &[1], 0),
    ("proxy_on_delete", &[1], 0),
    ("proxy_on_foreign_function", &[3], 0),
    ("forebay_on_timer", &[2], 0),
    ("forebay_on_reply", &[3], 0),
    ("forebay_on_origin_select", &[3], 0),
    ("forebay_on_drain", &[2], 0),
    ("forebay_on_response_event", &[2], 1),
    ("forebay_on_autoscale", &[2], 0),
];

/// The callbacks of the exchange in [`abi`]'s words.
pub fn callbacks(module: &Module) -> Callbacks {
    let has = |name: &str| module.get_export(name).is_some();
    let all = [
        ("proxy_on_request_headers", Callbacks::REQUEST_HEADERS),
        ("proxy_on_request_body", Callbacks::REQUEST_BODY),
        ("proxy_on_request_trailers", Callbacks::REQUEST_TRAILERS),
        ("proxy_on_response_headers", Callbacks::RESPONSE_HEADERS),
        ("proxy_on_response_body", Callbacks::RESPONSE_BODY),
        ("proxy_on_response_trailers", Callbacks::RESPONSE_TRAILERS),
        ("proxy_on_log", Callbacks::LOG),
        ("proxy_on_tick", Callbacks::TICK),
        ("proxy_on_queue_ready", Callbacks::QUEUE_READY),
        ("forebay_on_origin_select", Callbacks::ORIGIN_SELECT),
        ("proxy_on_done", Callbacks::DONE),
        ("forebay_on_drain", Callbacks::DRAIN),
        ("forebay_on_response_event", Callbacks::RESPONSE_EVENT),
        ("forebay_on_autoscale", Callbacks::AUTOSCALE),
        // What a module has that was built with an SDK which knows nothing of us.
        ("proxy_on_tick", Callbacks::AUTOSCALE),
    ];
    all.into_iter().filter(|(name, _)| has(name)).map(|(_, callback)| callback).collect()
}

/// What is wrong with the exports of `module`, a line each.
pub fn problems(module: &Module) -> Vec<String> {
    let mut problems = Vec::new();
    if !VERSIONS.iter().any(|(name, _)| module.get_export(name).is_some()) {
        let other = module.exports().find(|e| e.name().starts_with("proxy_abi_version_"));
        let known = VERSIONS.map(|(name, _)| name).join(", ");
        problems.push(match other {
            Some(found) => {
                format!("exports {}, a version of proxy-wasm that is not known here ({known} are)", found.name())
            }
            None => format!("exports no ABI version, so it is no proxy-wasm module (one of {known})"),
        });
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        problems.push("exports no memory named memory".to_owned());
    }
    match ALLOCATORS.iter().find_map(|name| Some((name, module.get_export(name)?))) {
        None => problems.push(format!("exports neither {} nor {}", ALLOCATORS[0], ALLOCATORS[1])),
        Some((name, found)) => problems.extend(mistyped(name, &found, &[1], 1)),
    }
    for (name, takes, returns) in CALLBACKS {
        problems.extend(module.get_export(name).and_then(|found| mistyped(name, &found, takes, *returns)));
    }
    for name in ["_initialize", "_start"] {
        problems.extend(module.get_export(name).and_then(|found| mistyped(name, &found, &[0], 0)));
    }
    problems
}

fn mistyped(name: &str, found: &ExternType, takes: &[usize], returns: usize) -> Option<String> {
    let ExternType::Func(function) = found else { return Some(format!("exports {name}, but not as a function")) };
    let only_i32 = |mut types: Box<dyn Iterator<Item = ValType> + '_>| types.all(|t| t.matches(&ValType::I32));
    let right = only_i32(Box::new(function.params()))
        && only_i32(Box::new(function.results()))
        && takes.contains(&function.params().len())
        && function.results().len() == returns;
    let takes: Vec<_> = takes.iter().map(usize::to_string).collect();
    (!right).then(|| {
        format!("exports {name} as {}; it takes {} i32 and returns {returns}", signature(function), takes.join(" or "))
    })
}

/// `(i32, i64) -> (i32)`.
pub fn signature(function: &FuncType) -> String {
    let list = |types: Vec<ValType>| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(function.params().collect()), list(function.results().collect()))
}

/// A callback of one instance, looked up when it is first called: an instance for one exchange calls few of
/// those that an SDK exports.
pub struct Callback<Params, Results> {
    place: ModuleExport,
    instance: Instance,
    found: OnceCell<TypedFunc<Params, Results>>,
}

impl<Params: WasmParams, Results: WasmResults> Callback<Params, Results> {
    pub fn call(&self, mut store: impl AsContextMut<Data = State>, params: Params) -> wasmtime::Result<Results> {
        match self.found.get() {
            Some(function) => function.call(store, params),
            None => {
                let found = self.find(store.as_context_mut())?;
                self.found.get_or_init(|| found).call(store, params)
            }
        }
    }

    /// Its type was checked by [`problems`] when the module was loaded.
    fn find(&self, mut store: StoreContextMut<'_, State>) -> wasmtime::Result<TypedFunc<Params, Results>> {
        let found = self.instance.get_module_export(&mut store, &self.place).and_then(Extern::into_func);
        found.ok_or_else(|| wasmtime::Error::msg("a callback of the module is gone"))?.typed(store)
    }
}

type Call<Params, Results = u32> = Option<Callback<Params, Results>>;

/// The callbacks of one instance by the fields of [`Exports`], and where a module has them: looked up by name
/// once, not for each instance.
macro_rules! callbacks {
    ($($field:ident: $type:ty = $name:literal;)*) => {
        /// The callbacks of one instance, ready to be called.
        pub struct Exports {
            $(pub $field: $type,)*
        }

        /// Where a module has its callbacks.
        pub struct Places {
            $($field: Option<<$type as At>::Place>,)*
        }

        impl Places {
            pub fn of(module: &Module) -> Places {
                Places { $($field: <$type as At>::place(module, $name),)* }
            }
        }

        impl Exports {
            pub fn of(places: &Places, instance: Instance) -> Exports {
                Exports { $($field: At::at(places.$field.clone(), instance),)* }
            }
        }
    };
}

callbacks! {
    context_create: Call<(u32, u32), ()> = "proxy_on_context_create";
    vm_start: Call<(u32, u32)> = "proxy_on_vm_start";
    configure: Call<(u32, u32)> = "proxy_on_configure";
    tick: Call<u32, ()> = "proxy_on_tick";
    queue_ready: Call<(u32, u32), ()> = "proxy_on_queue_ready";
    request_headers: Option<OnHeaders> = "proxy_on_request_headers";
    request_body: Call<(u32, u32, u32)> = "proxy_on_request_body";
    request_trailers: Call<(u32, u32)> = "proxy_on_request_trailers";
    response_headers: Option<OnHeaders> = "proxy_on_response_headers";
    response_body: Call<(u32, u32, u32)> = "proxy_on_response_body";
    response_trailers: Call<(u32, u32)> = "proxy_on_response_trailers";
    http_call_response: Call<(u32, u32, u32, u32, u32), ()> = "proxy_on_http_call_response";
    grpc_metadata: Call<(u32, u32, u32), ()> = "proxy_on_grpc_receive_initial_metadata";
    grpc_message: Call<(u32, u32, u32), ()> = "proxy_on_grpc_receive";
    grpc_trailers: Call<(u32, u32, u32), ()> = "proxy_on_grpc_receive_trailing_metadata";
    grpc_close: Call<(u32, u32, u32), ()> = "proxy_on_grpc_close";
    done: Call<u32> = "proxy_on_done";
    log: Call<u32, ()> = "proxy_on_log";
    delete: Call<u32, ()> = "proxy_on_delete";
    foreign_function: Call<(u32, u32, u32), ()> = "proxy_on_foreign_function";
    timer: Call<(u32, u32), ()> = "forebay_on_timer";
    reply: Call<(u32, u32, u32), ()> = "forebay_on_reply";
    origin_select: Call<(u32, u32, u32), ()> = "forebay_on_origin_select";
    drain: Call<(u32, u32), ()> = "forebay_on_drain";
    response_event: Call<(u32, u32)> = "forebay_on_response_event";
    autoscale: Call<(u32, u32), ()> = "forebay_on_autoscale";
}

/// What a place of a module is in an instance of it.
trait At: Sized {
    type Place: Clone;

    fn place(module: &Module, name: &str) -> Option<Self::Place>;
    fn at(place: Option<Self::Place>, instance: Instance) -> Self;
}

impl<Params, Results> At for Call<Params, Results> {
    type Place = ModuleExport;

    fn place(module: &Module, name: &str) -> Option<ModuleExport> {
        module.get_export_index(name)
    }

    fn at(place: Option<ModuleExport>, instance: Instance) -> Self {
        Some(Callback { place: place?, instance, found: OnceCell::new() })
    }
}

impl At for Option<OnHeaders> {
    /// And whether it takes three arguments.
    type Place = (ModuleExport, bool);

    fn place(module: &Module, name: &str) -> Option<(ModuleExport, bool)> {
        let three = matches!(module.get_export(name)?, ExternType::Func(function) if function.params().len() == 3);
        Some((module.get_export_index(name)?, three))
    }

    fn at(place: Option<(ModuleExport, bool)>, instance: Instance) -> Self {
        let (place, three) = place?;
        Some(match three {
            true => OnHeaders::Three(Callback { place, instance, found: OnceCell::new() }),
            false => OnHeaders::Two(Callback { place, instance, found: OnceCell::new() }),
        })
    }
}

/// A header callback: 0.1.0 is not told whether the stream ends with the headers.
pub enum OnHeaders {
    Two(Callback<(u32, u32), u32>),
    Three(Callback<(u32, u32, u32), u32>),
}

impl OnHeaders {
    pub fn call(&self, store: &mut Store<State>, context: u32, count: u32, end: bool) -> wasmtime::Result<u32> {
        match self {
            OnHeaders::Two(function) => function.call(store, (context, count)),
            OnHeaders::Three(function) => function.call(store, (context, count, end.into())),
        }
    }
}
