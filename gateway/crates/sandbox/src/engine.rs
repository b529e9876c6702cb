//! The wasmtime engine with its instance pool and its clock.

use std::{num::NonZeroUsize, sync::Arc};

use wasmtime::{Config, Enabled, Engine, OptLevel, PoolingAllocationConfig};

use crate::clock::Clock;

/// Core instances in one component. A module in Rust has three at most: itself, and the shim and fix-up that
/// componentizing adds for imports. `CPython` comes as some forty: the interpreter, the C library, each of its extension
/// modules, and the adapters between them.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;

/// Tables in one component. A module in Rust has two or three, `CPython` two: its parts share one.
const TABLES_PER_COMPONENT: u32 = 8;

/// The size of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// Module instances alive at once, over all workers and generations. Each reserves (does not use) 4 GiB of address
    /// space, so an address-space limit (`ulimit -v`) must leave room.
    pub instances: u32,
    /// The largest linear memory of one instance, in bytes. A bundle's own limit may be lower, never higher.
    pub memory: usize,
}

impl Default for PoolSize {
    fn default() -> Self {
        Self { instances: 256, memory: 1 << 30 }
    }
}

/// An engine with the clock that advances its epoch while guests run.
#[derive(Clone, Debug)]
pub struct WasmEngine {
    engine: Engine,
    clock: Arc<Clock>,
}

/// Frames of a guest's stack in an error's words, where they are asked for.
const FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

impl WasmEngine {
    /// Reserves the pool and starts the clock, which ends with the engine.
    pub fn new(size: PoolSize) -> wasmtime::Result<Self> {
        Self::start(&config(size))
    }

    /// The same; what is said of a trap has the guest's stack in it, which costs a trap some microseconds.
    pub fn with_backtraces(size: PoolSize) -> wasmtime::Result<Self> {
        Self::start(config(size).wasm_backtrace_max_frames(Some(FRAMES)))
    }

    /// The same with a compiler that uses one thread, for a process that loads one bundle.
    pub fn with_one_compiler_thread(size: PoolSize) -> wasmtime::Result<Self> {
        let mut config = config(size);
        config.parallel_compilation(false);
        Self::start(&config)
    }

    fn start(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let weak = engine.weak();
        let clock = Clock::start(move || weak.upgrade().inspect(Engine::increment_epoch).is_some())?;
        Ok(Self { engine, clock: Arc::new(clock) })
    }

    /// The engine itself.
    pub fn inner(&self) -> &Engine {
        &self.engine
    }

    /// The clock, which ticks for the callers of guests.
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }
}

fn config(size: PoolSize) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(size.instances)
        // Only counted, so that there is always room for the parts of as many components.
        .total_core_instances(size.instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(size.instances)
        .total_tables(size.instances.saturating_mul(3))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(4)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(10_000)
        .max_memory_size(size.memory)
        // Pages up to here are reset by copying instead of being given back and faulted in again: a fresh instance
        // costs half. What an instance dirties for one row is far below it.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        // What an instance leaves is taken by the next one, whatever its module: places that are kept for modules which
        // come back would keep their memory, too.
        .max_unused_warm_slots(8)
        // Linux 6.7 tells which pages are dirty; older kernels fall back by themselves.
        .pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Calls are synchronous: a third of the cost of a call.
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .wasm_backtrace_max_frames(None);
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::component::Component;

    /// A component of as many core instances, of an empty core module.
    fn component(instances: u8) -> Vec<u8> {
        let size = usize::from(instances) * 3 + 1;
        let mut bytes = b"\0asm\x0d\0\x01\0\x01\x08\0asm\x01\0\0\0".to_vec();
        bytes.extend([2, (size & 0x7f | 0x80) as u8, (size >> 7) as u8, instances]);
        bytes.extend(std::iter::repeat_n([0, 0, 0], instances.into()).flatten());
        bytes
    }

    #[test]
    fn a_component_in_parts_fits_and_more_parts_are_refused() {
        let engine = WasmEngine::new(PoolSize { instances: 1, ..PoolSize::default() }).expect("an engine");
        Component::new(engine.inner(), component(64)).expect("as many parts as CPython has, and some more");
        let error = Component::new(engine.inner(), component(65)).expect_err("a refusal");
        assert!(format!("{error:#}").contains("65 core module instances"), "{error:#}");
    }
}
