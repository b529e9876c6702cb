//! tract's `Conv`, `CumSum` and `GlobalAveragePool`, which sum halves as halves: here as singles, rounded once at the end.
//! A convolution over single places becomes a product in tract, for which [what was spread out is hidden](super::opaque).

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use super::barrier::hide;
use super::fit::Window;
use super::kernel::Operator;
use super::tract_builtin::tract_builtin;

pub(super) const CONV: Operator = Operator {
    domain: "",
    name: "Conv",
    attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
    build: |ctx, node| {
        Ok((expand(Widened { builtin: tract_builtin(ctx, node)?, window: Some(Window::new(node)?) }), vec![]))
    },
};

pub(super) const CUM_SUM: Operator = Operator {
    domain: "",
    name: "CumSum",
    attributes: &["exclusive", "reverse"],
    build: |ctx, node| Ok((expand(Widened { builtin: tract_builtin(ctx, node)?, window: None }), vec![])),
};

pub(super) const GLOBAL_AVERAGE: Operator = Operator { name: "GlobalAveragePool", attributes: &[], ..CUM_SUM };

/// An operator of tract's that is given singles in place of halves.
#[derive(Clone, Debug)]
struct Widened {
    builtin: Box<dyn Expansion>,
    /// Of a convolution.
    window: Option<Window>,
}

impl Expansion for Widened {
    fn name(&self) -> StaticName {
        self.builtin.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.builtin.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let inputs = match &self.window {
            Some(window) => window.fit(prefix, model, inputs)?,
            None => inputs.into(),
        };
        let inputs = if is_product(model, &inputs)? { hide(prefix, model, &inputs)? } else { inputs };
        if model.outlet_fact(inputs[0])?.datum_type != DatumType::F16 {
            return self.builtin.wire(prefix, model, &inputs);
        }
        let mut wide = TVec::with_capacity(inputs.len());
        for (index, &input) in inputs.iter().enumerate() {
            let is_half = model.outlet_fact(input)?.datum_type == DatumType::F16;
            let name = format!("{prefix}.wide_{index}");
            wide.extend(if is_half { wire_cast(name, model, &[input], DatumType::F32)? } else { tvec!(input) });
        }
        let found = self.builtin.wire(prefix, model, &wide)?;
        wire_cast(format!("{prefix}.back"), model, &found, DatumType::F16)
    }
}

/// Whether the second input has weights for single places.
fn is_product(model: &TypedModel, inputs: &[OutletId]) -> TractResult<bool> {
    let Some(&kernel) = inputs.get(1) else { return Ok(false) };
    let shape = &model.outlet_fact(kernel)?.shape;
    Ok(shape.rank() > 2 && shape.iter().skip(2).all(TDim::is_one))
}
