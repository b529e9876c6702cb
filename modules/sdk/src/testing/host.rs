//! The mock: it stands behind the contract's imports while a module runs.

use std::{cell::RefCell, fmt, rc::Rc};

use modelgate_columns::Signature;

use super::value::{Row, pack, unpack};
use crate::{Batch, Error, Live, Module, Packer, log::Level};

type Compute = dyn Fn(&Batch<'_>, &mut Packer<'_>) -> Result<(), Error>;

/// The host behind a module's imports.
#[derive(Clone, Default)]
pub struct Host {
    model: Option<(Signature, Rc<Compute>)>,
    logs: Rc<RefCell<Vec<(Level, String)>>>,
}

impl Host {
    /// Without a model.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a model of this signature. The closure reads its inputs and writes its outputs as a module would.
    #[must_use]
    pub fn model(
        mut self,
        signature: Signature,
        compute: impl Fn(&Batch<'_>, &mut Packer<'_>) -> Result<(), Error> + 'static,
    ) -> Self {
        self.model = Some((signature, Rc::new(compute)));
        self
    }

    /// Starts a module with this configuration: JSON, or nothing for a stage without a file.
    pub fn start<M: Module>(self, config: &str) -> Result<Running<M>, Error> {
        let live = self.during(|| Live::<M>::init(config.as_bytes()))?;
        Ok(Running { host: self, live })
    }

    /// Puts this host behind the imports of the current thread while `run` runs.
    fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Restore(Option<Host>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        run()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model.as_ref().map(|(signature, _)| signature);
        f.debug_struct("Host").field("model", &model).field("logs", &self.logs).finish()
    }
}

/// A module that runs in a mock.
pub struct Running<M> {
    host: Host,
    live: Live<M>,
}

impl<M: Module> Running<M> {
    /// The module's inputs and outputs.
    pub fn signature(&self) -> &Signature {
        self.live.signature()
    }

    /// Runs one batch: the values of each row in the order of the signature's inputs, and likewise of its outputs.
    pub fn run(&mut self, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
        let words = pack(&self.live.signature().inputs, &rows)?;
        let count = u32::try_from(rows.len()).map_err(|_| Error::internal("too many rows"))?;
        drop(rows);
        let words = self.run_words(count, &words)?;
        let outputs = &self.live.signature().outputs;
        let batch = Batch::new(outputs, count, &words)?;
        let columns = || outputs.iter().zip(batch.views());
        Ok((0..batch.rows()).map(|row| columns().map(|(column, view)| unpack(column, view, row)).collect()).collect())
    }

    /// Runs one batch of packed words, as the gateway does.
    pub fn run_words(&mut self, rows: u32, words: &[u64]) -> Result<Vec<u64>, Error> {
        let Self { host, live } = self;
        host.during(|| live.process(rows, words))
    }

    /// The module's log so far.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.host.logs.borrow().clone()
    }
}

/// Not derived, which would ask it of every author's type.
impl<M: Module> fmt::Debug for Running<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("host", &self.host).field("signature", self.signature()).finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

pub(crate) fn log(level: Level, message: &str) {
    CURRENT.with_borrow(|host| {
        if let Some(host) = host {
            host.logs.borrow_mut().push((level, message.to_owned()));
        }
    });
}

pub(crate) fn model_signature() -> Signature {
    CURRENT.with_borrow(|host| host.as_ref().and_then(|host| Some(host.model.as_ref()?.0.clone()))).unwrap_or_default()
}

pub(crate) fn compute(rows: u32, words: &[u64]) -> Result<Vec<u64>, Error> {
    let model = CURRENT.with_borrow(|host| host.as_ref().and_then(|host| host.model.clone()));
    let (signature, compute) = model.ok_or_else(|| Error::internal("the bundle has no model"))?;
    let inputs = Batch::new(&signature.inputs, rows, words)?;
    let mut outputs = Packer::new(&signature.outputs, rows);
    compute(&inputs, &mut outputs)?;
    outputs.finish()
}
