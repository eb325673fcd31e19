//! A plugin: its code, what it may use, and what a fault of it means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{CrashBudget, Remote};

#[derive(Clone, Debug)]
pub struct Plugin {
    pub name: String,
    pub code: PluginCode,
    /// Given FFI, and the modules of `lua_path`.
    pub trusted: bool,
    pub lua_path: Vec<PathBuf>,
    /// Text for `on_vm_start`.
    pub vm_config: String,
    /// Text for `on_configure` where the route gives none: JSON, or a plain string as written.
    pub config: String,
    pub limits: PluginLimits,
    /// As written, known to the ABI.
    pub capabilities: Vec<String>,
    pub on_fault: FaultPolicy,
    pub isolation: Isolation,
    pub crash_budget: CrashBudget,
}

/// The path is absolute: relative ones in the file are relative to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginCode {
    Lua(PathBuf),
    Wasm(PathBuf),
    /// Wasm that is fetched.
    Remote(Arc<Remote>),
}

impl PluginCode {
    /// `None` for what is no file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            PluginCode::Lua(path) | PluginCode::Wasm(path) => Some(path),
            PluginCode::Remote(_) => None,
        }
    }

    /// The plugin's own folder, where `plugin.yaml` and `spec.yaml` stand if it has them: that of
    /// the code, or DIR of `DIR/target/forebay/NAME.wasm`. Lua that is not a `main.lua` has none: a
    /// folder may hold many such files.
    pub fn folder(&self) -> Option<&Path> {
        let folder = self.path()?.parent()?;
        match self {
            PluginCode::Lua(path) => path.ends_with("main.lua").then_some(folder),
            PluginCode::Remote(_) => None,
            PluginCode::Wasm(_) if folder.ends_with("target/forebay") => folder.ancestors().nth(2),
            PluginCode::Wasm(_) => Some(folder),
        }
    }
}

/// The same fields and defaults as `abi::Limits` (but `instances`), which this crate may not import; the edge
/// converts, and a test of the edge holds the defaults against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    pub mode: LimitMode,
    pub cpu: Duration,
    pub start_cpu: Duration,
    pub exchange_cpu: Duration,
    pub background_cpu: Duration,
    pub wall: Duration,
    pub memory: usize,
    /// Of exchanges that have one of their own; the edge's alone.
    pub instances: u32,
    pub buffer: usize,
    pub callouts: u32,
    pub kv_calls: u32,
    pub log_lines: u32,
    pub metrics: u32,
}

impl Default for PluginLimits {
    fn default() -> PluginLimits {
        PluginLimits {
            mode: LimitMode::Enforce,
            cpu: Duration::from_millis(10),
            start_cpu: Duration::from_millis(500),
            exchange_cpu: Duration::from_secs(1),
            background_cpu: Duration::from_millis(100),
            wall: Duration::from_secs(10),
            memory: 32 << 20,
            instances: 1000,
            buffer: 1 << 20,
            callouts: 16,
            kv_calls: 64,
            log_lines: 100,
            metrics: 100,
        }
    }
}

/// What passing a limit means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    #[default]
    Enforce,
    /// It is told, and the exchange goes on, up to ten times the limit.
    Shadow,
}

/// What the exchanges of a plugin share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One instance on each worker: what it keeps in memory outlives an exchange, and a fault that ends
    /// it reaches all that are in flight there.
    #[default]
    Worker,
    /// An instance for each exchange, used once.
    Exchange,
}

impl Isolation {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Worker => "worker",
            Isolation::Exchange => "exchange",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultPolicy {
    /// 503 with the plugin and the verdict in the detail.
    #[default]
    Closed,
    /// Go on without the plugin; closed once body bytes were changed.
    Open,
    /// The version before it serves in its place; closed where that cannot be.
    LastGood,
}

impl FaultPolicy {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            FaultPolicy::Closed => "closed",
            FaultPolicy::Open => "open",
            FaultPolicy::LastGood => "last_good",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_a_folder_where_its_code_tells_which_it_is() {
        let folder = |code: PluginCode| code.folder().map(|folder| folder.display().to_string());
        assert_eq!(folder(PluginCode::Lua("/p/stamp/main.lua".into())).as_deref(), Some("/p/stamp"));
        assert_eq!(folder(PluginCode::Lua("/p/stamp.lua".into())), None);
        assert_eq!(folder(PluginCode::Lua("/p/domain.lua".into())), None, "not a main.lua");
        assert_eq!(folder(PluginCode::Wasm("/p/stamp/target/forebay/stamp.wasm".into())).as_deref(), Some("/p/stamp"));
        assert_eq!(folder(PluginCode::Wasm("/p/stamp/stamp.wasm".into())).as_deref(), Some("/p/stamp"));
    }
}
