//! From a module's bytes to something that can be instantiated in microseconds.

use std::{
    borrow::Cow,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use modelgate_columns::Signature;
use modelgate_onnx::Session;
use sha2::{Digest, Sha256};
use wasmtime::{
    Engine, Store,
    component::{Component, ComponentExportIndex, Instance, InstancePre, TypedFunc, WasmList, types},
};
use wasmtime_wizer::{ComponentInstanceState, Wizer};
use wit_component::ComponentEncoder;

pub use crate::limits::Isolation;
use crate::{
    cache::{CodeCache, entry_name},
    clock::ticks_until,
    contract::{ProcessFunc, WitError, WitSignature},
    engine::WasmEngine,
    host::{Host, Limits, linker},
    trap::describe,
};

/// The time that `init` may take before it is stopped.
const INIT_DEADLINE: Duration = Duration::from_secs(10);

/// The largest wasm file taken, in bytes.
const MAX_WASM: usize = 64 << 20;

/// Module types that the contract lets a module import from.
const IMPORTS: [&str; 3] = ["modelgate:module/types@1.", "modelgate:module/model@1.", "modelgate:module/log@1."];

type InitFunc = TypedFunc<(Vec<u8>,), (Result<WitSignature, WitError>,)>;

/// One stage of a bundle, compiled: a module with its configuration.
pub struct Module {
    pre: InstancePre<Host>,
    process: ComponentExportIndex,
    /// The call that brings a new instance to life; `None` where the component was taken after `init`.
    init: Option<(ComponentExportIndex, Vec<u8>)>,
    signature: Signature,
    /// Bytes of machine code and what belongs to it; none where another module alive has the same.
    code: usize,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("signature", &self.signature).finish_non_exhaustive()
    }
}

/// The identity of a module: the digests of its wasm, and of that with its configuration, its isolation and the model
/// that its `init` sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ModuleKey {
    wasm: [u8; 32],
    whole: [u8; 32],
}

/// Compiles modules, or takes their code from the cache. A module that is alive is shared.
#[derive(Clone, Debug)]
pub struct Compiler {
    engine: WasmEngine,
    cache: CodeCache,
    live: Arc<Mutex<HashMap<ModuleKey, Weak<Module>>>>,
}

impl Compiler {
    /// Compiles for `engine`.
    pub fn new(engine: WasmEngine, cache: CodeCache) -> Self {
        Self { engine, cache, live: Arc::default() }
    }

    /// The engine compiled for.
    pub fn engine(&self) -> &WasmEngine {
        &self.engine
    }

    /// The cache that code is taken from.
    pub fn cache(&self) -> &CodeCache {
        &self.cache
    }

    /// The same compiler, which knows the same modules, with another cache.
    #[must_use]
    pub fn with_cache(&self, cache: CodeCache) -> Self {
        Self { cache, ..self.clone() }
    }

    /// The name under which the code of a module is cached, by the sha256 of its wasm.
    pub fn entry(&self, digest: &[u8; 32]) -> String {
        entry_name(&self.engine, &[b"module", digest])
    }

    /// Brings the code of a module, known by the sha256 of its wasm, into the cache, unless it is there.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), as far as the module alone is concerned.
    pub fn precompile(&self, digest: &[u8; 32], wasm: impl FnOnce() -> Vec<u8>) -> wasmtime::Result<()> {
        if !self.cache.has(&self.entry(digest)) {
            let make = || Ok(componentize(&wasm())?.into_owned());
            self.cache.component(&self.engine, &[b"module", digest], make)?;
        }
        Ok(())
    }

    /// Compiles `wasm` (a component, or a core module that is made one), runs its `init` with `config` once to learn
    /// its signature, and prepares it for `isolation`. `session` is the bundle's model, handed back.
    ///
    /// # Errors
    /// What is wrong, for the bundle's author: not wasm, a foreign import, `init` refused its configuration, …
    pub fn compile(
        &self,
        wasm: &[u8],
        config: &[u8],
        isolation: Isolation,
        limits: Limits,
        session: &mut Option<Session>,
    ) -> wasmtime::Result<Arc<Module>> {
        wasmtime::ensure!(wasm.len() <= MAX_WASM, "at most {MAX_WASM} bytes of wasm are taken, got {}", wasm.len());
        let digest: [u8; 32] = Sha256::digest(wasm).into();
        let model = session.as_ref().map(|session| format!("{:?}", session.signature())).unwrap_or_default();
        let key = module_key(digest, config, isolation, limits.memory, &model);
        if let Some(module) = self.live(&key) {
            return Ok(module);
        }
        let (component, code) = match self.live_component(&digest) {
            Some(component) => (component, 0),
            None => {
                let make = || Ok(componentize(wasm)?.into_owned());
                let component = self.cache.component(&self.engine, &[b"module", &digest], make)?;
                let code = code_size(&component);
                (component, code)
            }
        };
        check_imports(&component, self.engine.inner())?;

        let linker = linker(&self.engine)?;
        let init = (export(&component, "init")?, config.to_vec());
        let mut module = Module {
            process: export(&component, "process")?,
            init: None,
            pre: linker.instantiate_pre(&component)?,
            signature: Signature::default(),
            code,
        };
        let mut store = self.store(limits, session.take());
        let started = {
            let _running = self.engine.clock().run_guest();
            module.start_in(&mut store, &init)
        };
        *session = store.into_data().session;
        module.signature = started?.1;
        module.signature.check().map_err(|error| wasmtime::format_err!("its signature: {error}"))?;

        if isolation == Isolation::Request {
            let key: [&[u8]; 4] = [b"after init", &digest, config, model.as_bytes()];
            let component = self.cache.component(&self.engine, &key, || {
                let component = componentize(wasm)?;
                catch_unwind(AssertUnwindSafe(|| self.after_init(&component, config, limits, session)))
                    .unwrap_or_else(|_| Err(wasmtime::format_err!("its state after `init` could not be taken")))
            })?;
            module.process = export(&component, "process")?;
            module.pre = linker.instantiate_pre(&component)?;
            module.code = code_size(&component);
        } else {
            module.init = Some(init);
        }
        let module = Arc::new(module);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, module| module.strong_count() > 0);
        live.insert(key, Arc::downgrade(&module));
        Ok(module)
    }

    fn live(&self, key: &ModuleKey) -> Option<Arc<Module>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(key).and_then(Weak::upgrade)
    }

    /// The code of a module that is alive under another configuration.
    fn live_component(&self, wasm: &[u8; 32]) -> Option<Component> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut same = live.iter().filter(|(key, _)| key.wasm == *wasm).filter_map(|(_, module)| module.upgrade());
        same.find_map(|module| module.init.is_some().then(|| module.pre.component().clone()))
    }

    /// The component with the memory and globals that `init` leaves as its initial ones.
    fn after_init(
        &self,
        component: &[u8],
        config: &[u8],
        limits: Limits,
        session: &mut Option<Session>,
    ) -> wasmtime::Result<Vec<u8>> {
        let wizer = Wizer::new();
        let (context, instrumented) = wizer.instrument_component(component)?;
        let instrumented = Component::new(self.engine.inner(), &instrumented)?;
        let module = Module {
            pre: linker(&self.engine)?.instantiate_pre(&instrumented)?,
            process: export(&instrumented, "process")?,
            init: None,
            signature: Signature::default(),
            code: 0,
        };
        let init = (export(&instrumented, "init")?, config.to_vec());
        // Reading the memory through the component's own type copies it once within the guest.
        let limits = Limits { memory: limits.memory.saturating_mul(2), ..limits };
        let mut store = self.store(limits, session.take());
        let _running = self.engine.clock().run_guest();
        let snapshot = module.start_in(&mut store, &init).and_then(|(instance, _)| {
            store.set_epoch_deadline(ticks_until(Instant::now() + INIT_DEADLINE));
            let mut state = InitState { store: &mut store, instance };
            let snapshot = wizer.snapshot_component(&context, &mut state).now_or_never();
            snapshot.ok_or_else(|| wasmtime::format_err!("the snapshot did not finish at once"))?
        });
        *session = store.into_data().session;
        snapshot
    }

    fn store(&self, limits: Limits, session: Option<Session>) -> Store<Host> {
        let mut store = Store::new(self.engine.inner(), Host::new(session, limits, "init"));
        store.limiter(|host| host);
        store
    }
}

impl Module {
    /// The signature that `init` returned.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Bytes of machine code that are its own.
    pub fn code(&self) -> usize {
        self.code
    }

    /// A new instance in `store`, ready for `process`. The caller lets the clock tick.
    pub(crate) fn start(&self, store: &mut Store<Host>) -> wasmtime::Result<ProcessFunc> {
        let instance = match &self.init {
            Some(init) => self.start_in(store, init)?.0,
            None => {
                store.set_epoch_deadline(ticks_until(Instant::now() + INIT_DEADLINE));
                self.pre.instantiate(&mut *store)?
            }
        };
        instance.get_typed_func(&mut *store, self.process)
    }

    /// Instantiates and calls `init`. The caller lets the clock tick.
    fn start_in(
        &self,
        store: &mut Store<Host>,
        (init, config): &(ComponentExportIndex, Vec<u8>),
    ) -> wasmtime::Result<(Instance, Signature)> {
        store.set_epoch_deadline(ticks_until(Instant::now() + INIT_DEADLINE));
        let instance = self.pre.instantiate(&mut *store)?;
        // Fails now, at load, if `process` is not of the contract's type.
        let _: ProcessFunc = instance.get_typed_func(&mut *store, self.process)?;
        let init: InitFunc = instance.get_typed_func(&mut *store, *init)?;
        store.data_mut().begin((Instant::now() + INIT_DEADLINE).into());
        let (answer,) = init.call(&mut *store, (config.clone(),)).map_err(|error| {
            let (cause, detail) = describe(&error, store.data());
            wasmtime::format_err!("`init` trapped: {cause}: {detail}")
        })?;
        match answer {
            Ok(signature) => Ok((instance, signature.into())),
            Err(WitError::InvalidInput(problems)) => {
                let problems: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
                wasmtime::bail!("`init` refused its configuration: {}", problems.join("; "))
            }
            Err(WitError::Model(message) | WitError::Internal(message)) => {
                wasmtime::bail!("`init` refused its configuration: {message}")
            }
        }
    }
}

fn module_key(wasm: [u8; 32], config: &[u8], isolation: Isolation, memory: usize, model: &str) -> ModuleKey {
    let mut hash = Sha256::new();
    hash.update(wasm);
    hash.update([u8::from(isolation == Isolation::Request)]);
    hash.update((memory as u64).to_le_bytes());
    hash.update((config.len() as u64).to_le_bytes());
    hash.update(config);
    hash.update(model);
    ModuleKey { wasm, whole: hash.finalize().into() }
}

fn code_size(component: &Component) -> usize {
    let image = component.image_range();
    image.end.addr().saturating_sub(image.start.addr())
}

fn componentize(wasm: &[u8]) -> wasmtime::Result<Cow<'_, [u8]>> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Cow::Owned(
            ComponentEncoder::default()
                .validate(true)
                .module(wasm)
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| wasmtime::format_err!("not a module of this contract: {error:#}"))?,
        )),
        Some([0, b'a', b's', b'm', ..]) => Ok(Cow::Borrowed(wasm)),
        _ => wasmtime::bail!("not WebAssembly: the file does not start with \\0asm"),
    }
}

/// Names every import that the contract does not offer.
fn check_imports(component: &Component, engine: &Engine) -> wasmtime::Result<()> {
    let ty: types::Component = component.component_type();
    let foreign: Vec<_> = ty
        .imports(engine)
        .map(|(name, _)| name.to_string())
        .filter(|name| !IMPORTS.iter().any(|allowed| name.starts_with(allowed)))
        .collect();
    wasmtime::ensure!(
        foreign.is_empty(),
        "it imports {}, but a module may import only modelgate:module/{{model,log}}@1",
        foreign.join(", ")
    );
    Ok(())
}

fn export(component: &Component, name: &str) -> wasmtime::Result<ComponentExportIndex> {
    component
        .get_export_index(None, name)
        .ok_or_else(|| wasmtime::format_err!("it does not export `{name}`, so it is not a module of this contract"))
}

/// Reads an instrumented instance's memory and globals.
struct InitState<'a> {
    store: &'a mut Store<Host>,
    instance: Instance,
}

impl InitState<'_> {
    fn read<R: wasmtime::component::Lift + Send + Sync + 'static, V>(
        &mut self,
        instance: &str,
        func: &str,
        value: impl FnOnce(&mut Store<Host>, R) -> V,
    ) -> V {
        let func: TypedFunc<(), (R,)> = self
            .instance
            .get_export_index(&mut *self.store, None, instance)
            .and_then(|instance| self.instance.get_export_index(&mut *self.store, Some(&instance), func))
            .and_then(|func| self.instance.get_typed_func(&mut *self.store, func).ok())
            .unwrap_or_else(|| unreachable!("wizer instrumented this component with {instance}#{func}"));
        let (result,) = func
            .call(&mut *self.store, ())
            .unwrap_or_else(|error| unreachable!("wizer's accessors only read: {error}"));
        value(self.store, result)
    }
}

impl ComponentInstanceState for InitState<'_> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.read(instance, func, |store, list: WasmList<u8>| contents(list.as_le_slice(&*store)));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func, |_, value| value)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func, |_, value| value)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read(instance, func, |_, value: f32| value.to_bits())
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read(instance, func, |_, value: f64| value.to_bits())
    }
}
