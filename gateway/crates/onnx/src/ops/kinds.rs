//! `IsNaN` and `IsInf`.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built};
use super::values::{tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const IS_NAN: Operator =
    Operator { domain: "", name: "IsNaN", attributes: &[], build: |_, node| built(node, Arc::new(Kind::Nan)) };

pub(super) const IS_INF: Operator = Operator {
    domain: "",
    name: "IsInf",
    attributes: &["detect_negative", "detect_positive"],
    build: |_, node| {
        let wanted = |name: &str| Attributes(node).int(name).unwrap_or(1) != 0;
        built(node, Arc::new(Kind::Inf { positive: wanted("detect_positive"), negative: wanted("detect_negative") }))
    },
};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nan,
    Inf { positive: bool, negative: bool },
}

impl Kind {
    fn is(self, value: f64) -> bool {
        match self {
            Self::Nan => value.is_nan(),
            Self::Inf { positive, negative } => value.is_infinite() && if value > 0.0 { positive } else { negative },
        }
    }
}

impl Kernel for Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Nan => "IsNaN",
            Self::Inf { .. } => "IsInf",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        Ok(tvec!(Spec::new::<bool>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let out = values::<f64>(input)?.iter().map(|&value| self.is(value)).collect();
        Ok(tvec!(tensor::<bool>(input.shape(), out)?))
    }
}
