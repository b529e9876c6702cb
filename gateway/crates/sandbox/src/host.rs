//! The contract's host side: the imports a module may use, and what it may use of them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use modelgate_columns::Signature;
use modelgate_onnx::{ComputeError, Session};
use wasmtime::{
    ResourceLimiter, StoreContextMut, UpdateDeadline,
    component::{Linker, WasmList, WasmStr},
};

pub use crate::limits::Limits;
use crate::{
    clock::ticks_until,
    contract::{Problem, WitError, WitLevel, WitSignature},
    engine::WasmEngine,
};

/// The `wit` package whose imports the host offers.
const PACKAGE: &str = "modelgate:module";
const CONTRACT: &str = "1.0.0";

/// Bytes of log text that one request may leave; the rest is dropped and counted.
const LOG_BYTES: usize = 16 << 10;
/// Log lines of one request.
const LOG_LINES: u32 = 32;
/// Table elements in one store; tables hold function pointers, and modules have a few hundred.
const TABLE_ELEMENTS: usize = 10_000;

/// Ticks of the epoch between two looks at whether anybody still waits for a guest: 20 ms.
const LOOK_TICKS: u64 = 4;

/// Until when a guest may run.
#[derive(Clone)]
pub struct Until {
    /// Until then at most.
    pub deadline: Instant,
    /// Tells that nobody waits for the guest any more.
    pub is_abandoned: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl From<Instant> for Until {
    fn from(deadline: Instant) -> Self {
        Self { deadline, is_abandoned: None }
    }
}

impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Until {
    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.is_abandoned.as_ref().is_some_and(|is_abandoned| is_abandoned())
    }

    /// Ticks of the epoch after which the guest is looked at.
    pub(crate) fn ticks(&self) -> u64 {
        let ticks = ticks_until(self.deadline);
        if self.is_abandoned.is_some() { ticks.min(LOOK_TICKS) } else { ticks }
    }
}

/// Why a host call ended the guest. Becomes the trap's cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostStop {
    /// The request's deadline passed inside the model.
    #[error("the deadline passed within the model")]
    Deadline,
    /// The caller has gone away.
    #[error("nobody waits for the answer any more")]
    Abandoned,
    /// More bytes than the bundle allows went through the imports.
    #[error("more bytes went through host calls than the bundle allows")]
    HostCallBytes,
}

/// The host's side of a store: everything that it holds for its guests.
pub struct Host {
    /// The bundle's model; lent to the store for as long as its instances live.
    pub(crate) session: Option<Session>,
    /// The model's inputs and outputs.
    model: Option<Signature>,
    limits: Limits,
    memory: usize,
    /// Whether a guest was refused memory in this request: tells a trap by allocation from another.
    pub(crate) memory_refused: bool,
    until: Option<Until>,
    host_call_bytes: usize,
    log_bytes: usize,
    log_lines: u32,
    log_dropped: u32,
    log_target: String,
    /// Time spent in the model in this request.
    pub(crate) model_time: Duration,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("limits", &self.limits).field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Host {
    /// For the instances of one bundle. `log_target` names it in the log.
    pub(crate) fn new(session: Option<Session>, limits: Limits, log_target: &str) -> Self {
        Self {
            model: session.as_ref().map(|session| session.signature().clone()),
            session,
            limits,
            memory: 0,
            memory_refused: false,
            until: None,
            host_call_bytes: 0,
            log_bytes: 0,
            log_lines: 0,
            log_dropped: 0,
            log_target: log_target.to_owned(),
            model_time: Duration::ZERO,
        }
    }

    /// A new request: until when it may run, and fresh budgets.
    pub(crate) fn begin(&mut self, until: Until) {
        self.until = Some(until);
        self.host_call_bytes = 0;
        self.log_bytes = 0;
        self.log_lines = 0;
        self.log_dropped = 0;
        self.memory_refused = false;
        self.model_time = Duration::ZERO;
    }

    /// The end of a request: says how much of its log was dropped.
    pub(crate) fn end(&mut self) {
        self.until = None;
        if self.log_dropped > 0 {
            tracing::warn!(bundle = self.log_target, dropped = self.log_dropped, "log lines of a module were dropped");
        }
    }

    /// Linear memory of this store's instances, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    fn spend(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.host_call_bytes = self.host_call_bytes.saturating_add(bytes);
        if self.host_call_bytes > self.limits.host_call_bytes {
            return Err(HostStop::HostCallBytes.into());
        }
        Ok(())
    }

    /// Whether a guest that has run for a while goes on.
    pub(crate) fn look(&self) -> wasmtime::Result<UpdateDeadline> {
        match &self.until {
            Some(until) if until.is_abandoned.is_some() && Instant::now() < until.deadline => {
                if until.is_abandoned() {
                    return Err(HostStop::Abandoned.into());
                }
                Ok(UpdateDeadline::Continue(until.ticks()))
            }
            _ => Ok(UpdateDeadline::Interrupt),
        }
    }

    fn keeps_log(&self, bytes: usize) -> bool {
        self.log_lines < LOG_LINES && self.log_bytes + bytes <= LOG_BYTES
    }

    fn log(&mut self, level: WitLevel, message: Option<&str>) {
        let Some(message) = message else {
            self.log_dropped = self.log_dropped.saturating_add(1);
            return;
        };
        self.log_lines += 1;
        self.log_bytes += message.len();
        let bundle = self.log_target.as_str();
        match level {
            WitLevel::Debug => tracing::debug!(bundle, "{message}"),
            WitLevel::Info => tracing::info!(bundle, "{message}"),
            WitLevel::Warn => tracing::warn!(bundle, "{message}"),
            WitLevel::Error => tracing::error!(bundle, "{message}"),
        }
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_add(desired.saturating_sub(current));
        if sum > self.limits.memory {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory = sum;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Everything a module may import.
pub(crate) fn linker(engine: &WasmEngine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine.inner());
    let mut model = linker.instance(&format!("{PACKAGE}/model@{CONTRACT}"))?;
    model.func_wrap("describe", |store: StoreContextMut<'_, Host>, (): ()| {
        let signature =
            store.data().model.as_ref().map_or_else(|| WitSignature::from(&Signature::default()), WitSignature::from);
        Ok((signature,))
    })?;
    model.func_wrap("compute", |store: StoreContextMut<'_, Host>, (rows, inputs): (u32, WasmList<u64>)| {
        Ok((compute(store, rows, inputs)?,))
    })?;
    linker.instance(&format!("{PACKAGE}/log@{CONTRACT}"))?.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, Host>, (level, message): (WitLevel, WasmStr)| {
            // Most floods are dropped, so the text is copied only where it is kept.
            let text = message.to_str(&store)?;
            let (bytes, kept) = (text.len(), store.data().keeps_log(text.len()));
            let text = kept.then(|| text.into_owned());
            let host = store.data_mut();
            host.spend(bytes)?;
            host.log(level, text.as_deref());
            Ok(())
        },
    )?;
    Ok(linker)
}

/// The model, on words that are read where they lie in the guest's memory.
#[expect(clippy::needless_pass_by_value, reason = "it is a handle, and the caller has no other use for it")]
fn compute(
    mut store: StoreContextMut<'_, Host>,
    rows: u32,
    inputs: WasmList<u64>,
) -> wasmtime::Result<Result<Vec<u64>, WitError>> {
    store.data_mut().spend(inputs.len().saturating_mul(8))?;
    if rows > store.data().limits.rows {
        let limit = store.data().limits.rows;
        return Ok(Err(WitError::Model(format!("at most {limit} rows may be computed at once, got {rows}"))));
    }
    if store.data().until.as_ref().is_some_and(Until::is_abandoned) {
        return Err(HostStop::Abandoned.into());
    }
    let Some(mut session) = store.data_mut().session.take() else {
        return Ok(Err(WitError::Model("this bundle has no model".into())));
    };
    let start = Instant::now();
    let deadline = store.data().until.as_ref().map(|until| until.deadline);
    let result = session.compute(rows, inputs.as_le_slice(&store), deadline);
    let host = store.data_mut();
    host.session = Some(session);
    host.model_time += start.elapsed();
    match result {
        Ok(outputs) => {
            host.spend(outputs.len().saturating_mul(8))?;
            Ok(Ok(outputs))
        }
        Err(ComputeError::Deadline) => Err(HostStop::Deadline.into()),
        Err(ComputeError::Invalid { column, row, message }) => {
            Ok(Err(WitError::InvalidInput(vec![Problem { column, row, message }])))
        }
        Err(ComputeError::Memory(message)) => {
            Ok(Err(WitError::InvalidInput(vec![Problem { column: None, row: None, message }])))
        }
        Err(ComputeError::Input(error)) => Ok(Err(WitError::Model(format!("the model's input: {error}")))),
        Err(ComputeError::Model(message)) => Ok(Err(WitError::Model(message))),
    }
}
