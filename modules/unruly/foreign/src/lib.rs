//! Imports what the contract does not offer, `env.now`: the gateway must refuse to load it. Otherwise a well-behaved
//! module that adds a column with the time.

use modelgate_module::{Batch, Column, Datatype, Error, Module, NoConfig, Packer, Signature};

struct Foreign;

impl Module for Foreign {
    type Config = NoConfig;

    fn init(_: NoConfig) -> Result<(Self, Signature), Error> {
        let inputs = vec![Column::scalar("x", Datatype::F64)];
        let outputs = vec![Column::scalar("y", Datatype::F64)];
        Ok((Self, Signature { inputs, outputs }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let now = now();
        for (y, x) in outputs.fill::<f64>("y")?.iter_mut().zip(inputs.values::<f64>("x")?) {
            *y = x + now;
        }
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a foreign import is what this module is for")]
fn now() -> f64 {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        safe fn now() -> f64;
    }
    now()
}

#[cfg(not(target_arch = "wasm32"))]
fn now() -> f64 {
    0.0
}

modelgate_module::export!(Foreign);
