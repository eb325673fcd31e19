//! The one wasmtime engine of the process.
//!
//! Synchronous calls (an asynchronous one costs eight times as much, and a guest never waits
//! inside a call), pooled memory (an instance in 3 to 6 µs in place of 13 to 24), and epochs
//! for deadlines: [`crate::ticker`] moves the epoch, and a guest that notices asks
//! [`crate::state`] whether its CPU time is spent. Fuel would cost twice what epochs do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Of wasm's own stack. A worker's thread has at least 2 MiB, and the host needs the rest.
const STACK: usize = 512 << 10;
/// Instances of all workers together. Each reserves address space, not memory.
pub const POOL: u32 = 4000;
/// Of each that nothing uses now, of memory that was written: wasmtime keeps a hundred so.
const KEPT: usize = 256 << 10;
/// Tables of one module.
pub const TABLES: u32 = 4;
/// The largest function table; Go modules have some ten thousand entries.
pub const TABLE_ELEMENTS: usize = 100_000;

/// Whether the engine has pooled memories; compiled code depends on it.
static POOLED: AtomicBool = AtomicBool::new(true);
static DEADLINES: AtomicBool = AtomicBool::new(true);

/// For a bench that asks what deadlines cost, before it loads anything: no guest is ever ended for its
/// CPU time then.
#[doc(hidden)]
pub fn without_deadlines() {
    DEADLINES.store(false, Ordering::Relaxed);
}

/// The engine, made on first use together with its ticker.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let engine = make();
        crate::ticker::start(engine.clone());
        engine
    })
}

fn make() -> Engine {
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(POOL)));
    POOLED.store(true, Ordering::Relaxed);
    Engine::new(&config).unwrap_or_else(|error| {
        // A container may bound address space: slower instances are better than none.
        tracing::warn!(
            %error, "no room to pool the memories of Wasm instances (it takes some 16 TiB of address space, see \
            ulimit -v): each is made on demand, and every access is checked"
        );
        POOLED.store(false, Ordering::Relaxed);
        Engine::new(&on_demand()).expect("the settings are right: only the reservation can fail")
    })
}

/// Compiles what [`engine`] runs, a function at a time. It has no room for instances.
pub fn one_by_one() -> wasmtime::Result<Engine> {
    engine();
    let mut config = if POOLED.load(Ordering::Relaxed) {
        let mut config = common();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(1)));
        config
    } else {
        on_demand()
    };
    Engine::new(config.parallel_compilation(false))
}

fn on_demand() -> Config {
    let mut config = common();
    config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(1 << 20);
    config
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(4 << 30)
        .table_keep_resident(KEPT);
    // What a guest has written is overwritten with what it began with, and stays in place for the next: that
    // takes a tenth of what giving its pages back and faulting them in again does. Without this call of
    // Linux 6.7 the kernel does not say which pages those are.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEPT);
    }
    pool
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(DEADLINES.load(Ordering::Relaxed))
        .max_wasm_stack(STACK)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(30));
    config
}
