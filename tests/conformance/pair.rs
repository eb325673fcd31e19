//! A plugin in both engines, and the edge that runs it.

use std::net::SocketAddr;
use std::path::PathBuf;

use harness::binary::{built_guest, guest};
use harness::{Edge, Origin, Setup, list};

/// What runs the plugin, and for Wasm what its module was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Lua,
    /// Rust with the SDK (`guest/`), which has every case.
    Wasm,
    /// No SDK, and only what needs nothing but proxy-wasm (`guests/`), as the two after it.
    C,
    AssemblyScript,
    Go,
}

impl Engine {
    pub fn module(self) -> PathBuf {
        match self {
            Engine::Lua => unreachable!("a plugin in Lua is a text"),
            Engine::Wasm => guest("tests/conformance/guest", "conformance-guest.wasm"),
            Engine::C => built_guest("c"),
            Engine::AssemblyScript => built_guest("assemblyscript"),
            Engine::Go => built_guest("go"),
        }
    }
}

/// One behaviour: the words that name it in the guest, and its text in Lua.
#[derive(Clone)]
pub struct Plugin {
    pub name: &'static str,
    /// The configuration that `on_configure` gets, in both languages.
    pub words: String,
    pub lua: String,
    /// More keys of the plugin in the region file, each line indented by four.
    pub keys: String,
    /// In place of what the engine's guest was built to.
    pub module: Option<PathBuf>,
}

/// The value of the secret `billing`, which every region of [`setup`] has.
pub const SECRET: &str = "s3cr3t-of-billing";
/// The file that it is read from.
pub const SECRET_FILE: &str = "billing.key";

/// Writes one test body for both engines: `mod lua` and `mod wasm` hold a test each.
macro_rules! on_both_engines {
    ($(fn $name:ident($engine:ident) $body:block)*) => {
        $(fn $name($engine: $crate::pair::Engine) $body)*

        mod lua {
            $(#[test] fn $name() { super::$name($crate::pair::Engine::Lua) })*
        }

        mod wasm {
            $(#[test] fn $name() { super::$name($crate::pair::Engine::Wasm) })*
        }
    };
}
pub(crate) use on_both_engines;

/// Has these tests of [`on_both_engines`] pass with modules of other languages, too: the same body,
/// the same bytes.
macro_rules! in_every_language {
    ($($name:ident),* $(,)?) => { $crate::pair::in_languages! { c = C, assemblyscript = AssemblyScript, go = Go; ($($name)*) } };
}
pub(crate) use in_every_language;

macro_rules! in_languages {
    ($($module:ident = $engine:ident),*; $names:tt) => {
        $($crate::pair::in_languages! { one $module $engine $names })*
    };
    (one $module:ident $engine:ident ($($name:ident)*)) => {
        mod $module {
            $(#[test] fn $name() { super::$name($crate::pair::Engine::$engine) })*
        }
    };
}
pub(crate) use in_languages;

/// A plugin whose one name is that of its case.
pub fn plugin(name: &'static str, lua: &str) -> Plugin {
    Plugin { name, words: name.to_owned(), lua: lua.to_owned(), keys: String::new(), module: None }
}

impl Plugin {
    pub fn words(mut self, words: &str) -> Plugin {
        words.clone_into(&mut self.words);
        self
    }

    pub fn keys(mut self, keys: &str) -> Plugin {
        self.keys.push_str(keys);
        self.keys.push('\n');
        self
    }

    /// Its entry in `plugins`.
    pub fn entry(&self, engine: Engine) -> String {
        let code = match engine {
            Engine::Lua => format!("lua: {}.lua", self.name),
            _ => format!("wasm: {}", self.module.clone().unwrap_or_else(|| engine.module()).display()),
        };
        format!("  - name: {}\n    {code}\n    config: \"{}\"\n{}", self.name, self.words, self.keys)
    }
}

/// Buckets that do not fill while a test runs, and one that is never empty.
const BUCKETS: &str = "buckets: [{name: logins, rate: 3, per: 10h}, {name: spend, rate: 100, per: 100h}, \
                       {name: probes, rate: 1000000}]\n";

/// An edge with these plugins, each in its engine, on one route to `shop`; a pool `side` beside.
pub fn setup(plugins: &[(Engine, Plugin)], shop: SocketAddr, side: Option<SocketAddr>) -> Setup {
    let entries: String = plugins.iter().map(|(engine, plugin)| plugin.entry(*engine)).collect();
    let names: Vec<_> = plugins.iter().map(|(_, plugin)| plugin.name).collect();
    let mut region = format!(
        "{BUCKETS}secrets:\n  - {{name: billing, file: {SECRET_FILE}}}\nplugins:\n{entries}routes:\n  - name: all\n    plugins: [{}]\n    pool: shop\npools:\n  - name: shop\n    \
         origins: {}\n",
        names.join(", "),
        list(&[shop])
    );
    if let Some(side) = side {
        region.push_str(&format!("  - name: side\n    origins: {}\n", list(&[side])));
    }
    let mut setup = Setup::new(region).file(SECRET_FILE, format!("{SECRET}\n"));
    for (engine, plugin) in plugins {
        if *engine == Engine::Lua {
            setup = setup.file(&format!("{}.lua", plugin.name), &plugin.lua);
        }
    }
    setup
}

/// An edge with one plugin.
#[track_caller]
pub fn edge(engine: Engine, plugin: Plugin, shop: &Origin) -> Edge {
    setup(&[(engine, plugin)], shop.address, None).start()
}
