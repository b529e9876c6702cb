//! `AveragePool`, `LpPool` and `MaxPool`: one value for each window of an image of any rank.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::values::{room, tensor, values};
use super::window::{Geometry, Run, Sizes};
use crate::rows::{Inputs, MIXES, NUMBERS, Outcome};

const ATTRIBUTES: [&str; 9] = [
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "p",
    "pads",
    "storage_order",
    "strides",
];

pub(super) const AVERAGE: Operator = Operator {
    domain: "",
    name: "AveragePool",
    attributes: &ATTRIBUTES,
    build: |_, node| {
        let include_padding = Attributes(node).int("count_include_pad").unwrap_or(0) != 0;
        build(node, Function::Average { include_padding })
    },
};

pub(super) const LP: Operator = Operator {
    domain: "",
    name: "LpPool",
    attributes: &ATTRIBUTES,
    build: |_, node| build(node, Function::Lp(Attributes(node).int("p").unwrap_or(2) as f64)),
};

pub(super) const MAX: Operator = Operator {
    domain: "",
    name: "MaxPool",
    attributes: &ATTRIBUTES,
    build: |_, node| {
        let by_column = Attributes(node).int("storage_order").unwrap_or(0) != 0;
        build(node, Function::Max { by_column, tells_indices: node.output.len() > 1 })
    },
};

pub(super) const GLOBAL_LP: Operator = Operator {
    domain: "",
    name: "GlobalLpPool",
    attributes: &["p"],
    build: |_, node| global(node, Function::Lp(Attributes(node).int("p").unwrap_or(2) as f64)),
};

pub(super) const GLOBAL_MAX: Operator = Operator {
    domain: "",
    name: "GlobalMaxPool",
    attributes: &[],
    build: |_, node| global(node, Function::Max { by_column: false, tells_indices: false }),
};

/// Over whole images.
fn global(node: &NodeProto, function: Function) -> Built {
    built(node, Arc::new(Pool { geometry: Geometry::new(node)?, kernel: None, function }))
}

fn build(node: &NodeProto, function: Function) -> Built {
    let kernel = Attributes(node).ints("kernel_shape").iter().map(|&size| usize::try_from(size));
    let kernel = kernel.collect::<Result<TVec<_>, _>>().context("attribute 'kernel_shape' is negative")?;
    ensure!(!kernel.is_empty(), "attribute 'kernel_shape' is missing");
    built(node, Arc::new(Pool { geometry: Geometry::new(node)?, kernel: Some(kernel), function }))
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Average {
        include_padding: bool,
    },
    Lp(f64),
    Max {
        /// Whether the second result counts along columns.
        by_column: bool,
        /// Whether it is asked for.
        tells_indices: bool,
    },
}

#[derive(Debug)]
struct Pool {
    geometry: Geometry,
    /// The window; `None` is the whole image.
    kernel: Option<TVec<usize>>,
    function: Function,
}

impl Kernel for Pool {
    fn name(&self) -> &'static str {
        match self.function {
            Function::Average { .. } => "AveragePool",
            Function::Lp(_) => "LpPool",
            Function::Max { .. } => "MaxPool",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [x] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(x.shape.len() > 2, "an image of the shape {:?}", x.shape);
        let plain = x.datum.is_float() || [DatumType::I8, DatumType::U8].contains(&x.datum);
        ensure!(plain, "values of type {:?} are not supported", x.datum);
        let mut shape: TVec<TDim> = x.shape[..2].into();
        match &self.kernel {
            Some(kernel) => {
                ensure!(x.shape.len() == kernel.len() + 2, "an image of the shape {:?}", x.shape);
                shape.extend(self.geometry.outputs(&x.shape[2..], kernel)?);
            }
            None => shape.extend(x.shape[2..].iter().map(|_| 1.to_dim())),
        }
        let mut specs = tvec!(Spec { datum: x.datum, shape: shape.clone() });
        if matches!(self.function, Function::Max { tells_indices: true, .. }) {
            specs.push(Spec::new::<i64>(shape));
        }
        Ok(specs)
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        if matches!(self.function, Function::Max { tells_indices: true, .. }) {
            return Err(NUMBERS.into());
        }
        inputs.except(|axis| axis >= 2, MIXES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [x] = inputs else { bail!("expected 1 input") };
        let [batch, channels, image @ ..] = x.shape() else { bail!("expected a batch of channels") };
        let sizes = self.geometry.sizes(image, self.kernel.as_deref().unwrap_or(image))?;
        let shape: TVec<usize> = [*batch, *channels].into_iter().chain(sizes.outputs.iter().copied()).collect();
        let planes = batch * channels;
        room(planes, sizes.outputs.iter().product())?;
        let datum = x.datum_type();
        match self.function {
            Function::Max { by_column, tells_indices: true } => {
                return match datum {
                    DatumType::F64 => maxima::<f64>(x, &sizes, planes, &shape, by_column, datum),
                    DatumType::F16 | DatumType::F32 => maxima::<f32>(x, &sizes, planes, &shape, by_column, datum),
                    _ => maxima::<i32>(x, &sizes, planes, &shape, by_column, datum),
                };
            }
            Function::Max { .. } => {
                return Ok(tvec!(match datum {
                    DatumType::F64 => greatest(x, &sizes, planes, &shape, f64::NEG_INFINITY)?,
                    DatumType::F16 | DatumType::F32 => greatest(x, &sizes, planes, &shape, f32::NEG_INFINITY)?,
                    DatumType::I8 => greatest(x, &sizes, planes, &shape, i8::MIN)?,
                    _ => greatest(x, &sizes, planes, &shape, u8::MIN)?,
                }));
            }
            Function::Average { .. } | Function::Lp(_) => {}
        }
        let result = if datum == f64::datum_type() {
            self.sums::<f64>(x, &sizes, planes, &shape)?
        } else {
            self.sums::<f32>(x, &sizes, planes, &shape)?
        };
        Ok(tvec!(if result.datum_type() == datum { result } else { result.cast_to_dt(datum)?.into_owned().into() }))
    }
}

impl Pool {
    fn sums<T: Datum + Copy + tract_num_traits::Float>(
        &self,
        x: &Tensor,
        sizes: &Sizes,
        planes: usize,
        shape: &[usize],
    ) -> TractResult<TValue> {
        let number = |value: f64| T::from(value).unwrap_or_else(T::nan);
        let (values, pixels) = (values::<T>(x)?, sizes.outputs.iter().product::<usize>());
        let image: usize = sizes.image.iter().product();
        let mut sums = vec![T::zero(); planes * pixels];
        let (runs, step) = (sizes.runs()?, sizes.step());
        let planes = sums.chunks_exact_mut(pixels.max(1)).zip(values.chunks_exact(image.max(1)));
        for (sums, values) in planes {
            match self.function {
                Function::Lp(power) if power.to_bits() == 1.0f64.to_bits() => {
                    fold(&runs, step, values, sums, |sum, value| sum + value.abs());
                }
                Function::Lp(power) if power.to_bits() == 2.0f64.to_bits() => {
                    fold(&runs, step, values, sums, |sum, value| sum + value * value);
                }
                Function::Lp(power) => {
                    fold(&runs, step, values, sums, |sum, value| sum + value.abs().powf(number(power)));
                }
                _ => fold(&runs, step, values, sums, |sum, value| sum + value),
            }
        }
        match self.function {
            Function::Average { include_padding } => {
                let counts = sizes.counts(include_padding);
                for (index, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum / number(counts[index % pixels] as f64);
                }
            }
            Function::Lp(power) => {
                for sum in &mut sums {
                    *sum = if power.to_bits() == 2.0f64.to_bits() { sum.sqrt() } else { sum.powf(number(1.0 / power)) };
                }
            }
            Function::Max { .. } => {}
        }
        tensor(shape, sums)
    }
}

/// Adds to each output what its window meets.
fn fold<T: Copy>(runs: &[Run], step: usize, image: &[T], out: &mut [T], function: impl Fn(T, T) -> T) {
    for run in runs {
        let out = &mut out[run.output..][..run.count];
        if step == 1 {
            for (out, &value) in out.iter_mut().zip(&image[run.image..][..run.count]) {
                *out = function(*out, value);
            }
        } else {
            for (out, &value) in out.iter_mut().zip(image[run.image..].iter().step_by(step)) {
                *out = function(*out, value);
            }
        }
    }
}

/// The greatest values. A NaN is greater than all.
fn greatest<T: Datum + Copy + PartialOrd>(
    x: &Tensor,
    sizes: &Sizes,
    planes: usize,
    shape: &[usize],
    least: T,
) -> TractResult<TValue> {
    let (values, pixels) = (values::<T>(x)?, sizes.outputs.iter().product::<usize>());
    let image: usize = sizes.image.iter().product();
    let mut out = vec![least; planes * pixels];
    let (runs, step) = (sizes.runs()?, sizes.step());
    #[expect(clippy::eq_op, reason = "a NaN is no equal of its own")]
    let greater = |best: T, value: T| if value > best || value != value { value } else { best };
    for (out, values) in out.chunks_exact_mut(pixels.max(1)).zip(values.chunks_exact(image.max(1))) {
        fold(&runs, step, values, out, greater);
    }
    let found = tensor(shape, out)?;
    let datum = x.datum_type();
    Ok(if found.datum_type() == datum { found } else { found.cast_to_dt(datum)?.into_owned().into() })
}

/// The greatest values, and where they are. A NaN is greater than all.
fn maxima<T: Datum + Copy + PartialOrd>(
    x: &Tensor,
    sizes: &Sizes,
    planes: usize,
    shape: &[usize],
    by_column: bool,
    datum: DatumType,
) -> TractResult<TVec<TValue>> {
    let (values, pixels) = (values::<T>(x)?, sizes.outputs.iter().product::<usize>());
    let image: usize = sizes.image.iter().product();
    let mut taken = vec![usize::MAX; planes * pixels];
    #[expect(clippy::eq_op, reason = "a NaN is no equal of its own")]
    let is_nan = |value: T| value != value;
    sizes.each_tap(|taps| {
        for (taken, values) in taken.chunks_exact_mut(pixels.max(1)).zip(values.chunks_exact(image.max(1))) {
            for (own_tap, &tap) in taken.iter_mut().zip(taps) {
                let Some(&value) = values.get(tap) else { continue };
                let beats = |&best: &T| value > best || is_nan(value) && !is_nan(best);
                if values.get(*own_tap).is_none_or(beats) {
                    *own_tap = tap;
                }
            }
        }
    })?;
    let mut found = Vec::with_capacity(taken.len());
    let mut indices = Vec::with_capacity(taken.len());
    for (at, &own_tap) in taken.iter().enumerate() {
        let plane = at / pixels;
        let value = values.get(plane * image + own_tap.min(image)).filter(|_| own_tap < image);
        found.push(*value.context("a window without a value")?);
        let own = if by_column { column_major(own_tap, &sizes.image) } else { own_tap };
        indices.push((plane * image + own) as i64);
    }
    let found = tensor(shape, found)?;
    let found = if found.datum_type() == datum { found } else { found.cast_to_dt(datum)?.into_owned().into() };
    Ok(tvec!(found, tensor(shape, indices)?))
}

/// A place in row-major order, counted along the first axis first.
fn column_major(index: usize, shape: &[usize]) -> usize {
    let (mut left, mut coordinates) = (index, tvec!());
    for &size in shape.iter().rev() {
        coordinates.push(left % size);
        left /= size;
    }
    // The coordinates are in reverse: the last axis counts most.
    let sizes = shape.iter().rev();
    coordinates.iter().zip(sizes).fold(0, |index, (&coordinate, &size)| index * size + coordinate)
}
