//! The one wasmtime engine of the process.
//!
//! Synchronous calls (an asynchronous one costs eight times as much, and a guest never waits
//! inside a call), pooled memory (an instance in 3 to 6 µs in place of 13 to 24), and epochs
//! for deadlines: [`crate::ticker`] moves the epoch, and a guest that notices asks
//! [`crate::state`] whether its CPU time is spent. Fuel would cost twice what epochs do.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Of wasm's own stack. A worker's thread has at least 2 MiB, and the host needs the rest.
const STACK: usize = 512 << 10;
/// Instances of all workers together. Each reserves address space, not memory.
const POOL: u32 = 4000;
/// The largest function table; Go modules have some ten thousand entries.
pub const TABLE_ELEMENTS: usize = 100_000;

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
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(POOL)
        .total_memories(POOL)
        .total_tables(POOL)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(4 << 30);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => {
            // A container may bound address space: slower instances are better than none.
            tracing::warn!(%error, "no room to pool the memories of Wasm instances: they are made on demand");
            Engine::new(&common()).expect("the settings are right: only the reservation can fail")
        }
    }
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(30));
    config
}
