//! Layers of a network: `MatMul` and `Gemm` with constant weights, and chains of them, which [`fuse`](super::super::fuse)
//! makes one node each. tract's own, which packs for each call what is multiplied, does the rest.

mod general;
pub(super) mod packed_gemm;

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use self::general::{General, other_product};
use self::packed_gemm::PackedGemm;
use super::attributes::Attributes;
use super::barrier::hide;
use super::fit::{of_matrices, same_sizes};
use super::kernel::{Kernel, KernelOp, OWN, Operator, Spec, built};
use super::softmax::shares;
use super::tract_builtin::tract_builtin;
use super::values::{room, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const MAT_MUL: Operator = Operator {
    domain: "",
    name: "MatMul",
    attributes: &[],
    build: |ctx, node| {
        Ok((expand(Single { builtin: tract_builtin(ctx, node)?, by_output: Some(false), gemm: None }), vec![]))
    },
};

pub(super) const GEMM: Operator = Operator {
    domain: "",
    name: "Gemm",
    attributes: &["alpha", "beta", "broadcast", "transA", "transB"],
    build: |ctx, node| {
        let by_output = is_plain_gemm(node).then(|| Attributes(node).int("transB").unwrap_or(0) != 0);
        Ok((expand(Single { builtin: tract_builtin(ctx, node)?, by_output, gemm: Some(General::new(node)) }), vec![]))
    },
};

/// Whether it is a product and a sum, and nothing besides.
pub(in super::super) fn is_plain_gemm(node: &NodeProto) -> bool {
    let is_one = |name: &str| Attributes(node).float(name).is_none_or(|value| value.to_bits() == 1.0f32.to_bits());
    is_one("alpha") && is_one("beta") && Attributes(node).int("transA").unwrap_or(0) == 0
}

/// A chain of layers, as [`fuse`](super::super::fuse) writes it: in `weights` and `biases` a tensor for each layer, the
/// bias empty if it has none; in `by_output` and `relu` a 1 or 0 for each.
pub(super) const LAYERS: Operator = Operator {
    domain: OWN,
    name: "ModelgateLayers",
    attributes: &["biases", "by_output", "relu", "softmax", "weights"],
    build: |ctx, node| built(node, Arc::new(chain(ctx, Attributes(node))?)),
};

fn chain(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<FusedMlp> {
    let (weights, biases) = (node.tensors(ctx, "weights")?, node.tensors(ctx, "biases")?);
    let (by_output, relu) = (node.ints("by_output"), node.ints("relu"));
    let count = weights.len();
    let lists = [biases.len(), by_output.len(), relu.len()];
    ensure!(lists.iter().all(|&len| len == count), "{count} weights, and {lists:?} of the others");
    let each = weights.iter().zip(&biases).zip(by_output.iter().zip(relu));
    let gemms = each.map(|((weights, bias), (&by_output, &relu))| {
        let bias = bias.try_as_plain_ram()?.as_slice::<f32>()?;
        packed(weights, by_output != 0, bias, relu != 0)?.context("the weights are no matrix of singles")
    });
    FusedMlp::new(gemms.collect::<TractResult<_>>()?, node.int("softmax").unwrap_or(0) != 0)
}

/// Packs weights; `None` if they are no matrix of singles.
fn packed(weights: &Tensor, by_output: bool, bias: &[f32], relu: bool) -> TractResult<Option<PackedGemm>> {
    let (&[first, second], true) = (weights.shape(), weights.datum_type() == f32::datum_type()) else {
        return Ok(None);
    };
    let shape = if by_output { (second, first) } else { (first, second) };
    Ok(PackedGemm::new(weights.try_as_plain_ram()?.as_slice::<f32>()?, shape, by_output, bias, relu))
}

/// The operator of tract's, and ours where it fits.
#[derive(Clone, Debug)]
struct Single {
    builtin: Box<dyn Expansion>,
    /// Whether the weights lie by output; `None` if ours never fits.
    by_output: Option<bool>,
    /// `None` for `MatMul`.
    gemm: Option<General>,
}

impl Expansion for Single {
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
        match self.layer(model, inputs)? {
            Some(layer) => model.wire_node(prefix, KernelOp::new(Arc::new(layer)), &inputs[..1]),
            None => self.general(prefix, model, inputs),
        }
    }
}

/// Whether an input has one dimension alone.
fn has_list(model: &TypedModel, inputs: &[OutletId]) -> TractResult<bool> {
    let ranks = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.rank()));
    Ok(ranks.collect::<TractResult<Vec<_>>>()?.contains(&1))
}

impl Single {
    /// tract's, or ours for whole numbers, for which it has none.
    fn general(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let datum = model.outlet_fact(inputs[0])?.datum_type;
        let transposed = self.gemm.map_or([false; 2], General::transposed);
        let axes = of_matrices(model, inputs, transposed)?;
        let inputs = same_sizes(prefix, model, inputs, &axes)?;
        let inputs = hide(prefix, model, &inputs)?;
        // Halves would be summed as halves.
        let wide = if datum == DatumType::F16 { DatumType::F32 } else { datum };
        let inputs = wire_cast(prefix, model, &inputs, wide)?;
        let product = match &self.gemm {
            Some(gemm) => gemm.wire(prefix, model, &inputs)?,
            None if wide.is_float() && !has_list(model, &inputs)? => self.builtin.wire(prefix, model, &inputs)?,
            None => other_product(prefix, model, &inputs)?,
        };
        wire_cast(format!("{prefix}.back"), model, &product, datum)
    }

    /// Ours, if rows of singles meet constant weights.
    fn layer(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<Option<FusedMlp>> {
        let (Some(by_output), [rows, weights, bias @ ..]) = (self.by_output, inputs) else { return Ok(None) };
        let rows = model.outlet_fact(*rows)?;
        let Some(weights) = model.outlet_fact(*weights)?.konst.clone() else { return Ok(None) };
        let bias = match bias {
            [bias, ..] => Some(model.outlet_fact(*bias)?.konst.clone()),
            [] => None,
        };
        let is_single = |tensor: &Tensor| tensor.datum_type() == f32::datum_type();
        if rows.konst.is_some() || rows.rank() < 2 || rows.datum_type != f32::datum_type() {
            return Ok(None);
        }
        let width = if by_output { weights.shape().get(1) } else { weights.shape().first() };
        if rows.shape.last().and_then(|dim| dim.to_usize().ok()).as_ref() != width {
            return Ok(None);
        }
        let outputs = if by_output { weights.shape().first() } else { weights.shape().get(1) };
        let bias = match &bias {
            None => &[][..],
            Some(Some(bias)) if is_single(bias) && Some(&bias.len()) == outputs => {
                bias.try_as_plain_ram()?.as_slice()?
            }
            Some(_) => return Ok(None),
        };
        packed(&weights, by_output, bias, false)?.map(|gemm| FusedMlp::new(vec![gemm], false)).transpose()
    }
}

/// Rows that go through all layers before the next: few enough for what lies between the layers to stay in the cache,
/// enough for the weights to serve many.
const TILE: usize = 64;

#[derive(Debug)]
struct FusedMlp {
    gemms: Vec<PackedGemm>,
    softmax: bool,
}

impl FusedMlp {
    fn new(gemms: Vec<PackedGemm>, softmax: bool) -> TractResult<Self> {
        ensure!(!gemms.is_empty(), "no layers");
        let fit = gemms.windows(2).all(|pair| pair[0].outputs() == pair[1].inputs());
        ensure!(fit, "the layers do not fit each other");
        Ok(Self { gemms, softmax })
    }

    fn width(&self) -> usize {
        self.gemms.first().map_or(0, PackedGemm::inputs)
    }

    fn width_out(&self) -> usize {
        self.gemms.last().map_or(0, PackedGemm::outputs)
    }

    /// Some rows, with room for what lies between the layers.
    fn apply(&self, rows: &[f32], between: &mut [Vec<f32>; 2], out: &mut [f32]) {
        let count = rows.len() / self.width();
        let [from, to] = between;
        for (index, gemm) in self.gemms.iter().enumerate() {
            let rows = if index == 0 { rows } else { &from[..count * gemm.inputs()] };
            if index + 1 == self.gemms.len() {
                gemm.apply(rows, out);
            } else {
                gemm.apply(rows, &mut to[..count * gemm.outputs()]);
                std::mem::swap(from, to);
            }
        }
        if self.softmax {
            out.chunks_exact_mut(self.width_out()).for_each(shares);
        }
    }
}

impl Kernel for FusedMlp {
    fn name(&self) -> &'static str {
        "Layers"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [rows] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(rows.datum == f32::datum_type(), "expected singles, got {:?}", rows.datum);
        let [before @ .., width] = &*rows.shape else { bail!("expected rows, got a single value") };
        let wanted = self.width();
        ensure!(width.to_usize().map_or(true, |width| width == wanted), "expected {wanted} values, got {width}");
        Ok(tvec!(Spec::new::<f32>(before.iter().cloned().chain([self.width_out().to_dim()]))))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.before_last()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (width, outputs) = (self.width(), self.width_out());
        let mut shape: TVec<usize> = inputs[0].shape().into();
        ensure!(shape.last() == Some(&width), "expected {width} values, got the shape {shape:?}");
        let rows = values::<f32>(&inputs[0])?;
        let count = rows.len() / width;
        let mut out = vec![0.0; room(count, outputs)?];
        let inner = self.gemms.iter().rev().skip(1).map(PackedGemm::outputs).max().unwrap_or(0);
        let mut between = [0, 1].map(|_| vec![0.0; inner * count.min(TILE)]);
        for (rows, out) in rows.chunks(TILE * width).zip(out.chunks_mut(TILE * outputs)) {
            self.apply(rows, &mut between, out);
        }
        shape.pop();
        shape.push(outputs);
        Ok(tvec!(tensor(&shape, out)?))
    }

    fn bytes(&self) -> usize {
        self.gemms.iter().map(PackedGemm::bytes).sum()
    }
}
