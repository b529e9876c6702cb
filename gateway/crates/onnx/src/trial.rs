//! Plans tried before they are trusted: on values that are not all zero, on two rows, and against each other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use modelgate_throttle::give_way;
use tract_onnx::prelude::tract_ndarray::{ArrayD, IxDyn};
use tract_onnx::tract_hir::internal::{Datum, DatumType, TDim, TValue, TVec, Tensor, TractResult, bail, f16};

use super::guard::guarded;
use super::interface::Input;
use super::plan::Plan;

/// The values that inputs are filled with. One of them is what most graphs can take: zeros are no divisors, and large
/// numbers no indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Floats between -1 and 1, integers of 1.
    Ones,
    /// Floats between -1 and 1, integers of 0 and 1.
    Bits,
    /// Zeros.
    Zeros,
}

impl Fill {
    pub(super) const ALL: [Self; 3] = [Self::Ones, Self::Bits, Self::Zeros];
}

/// Sizes that open dimensions are tried with: what nets of images, of sequences and of samples take.
const SIZES: [usize; 6] = [32, 64, 8, 320, 1, 1280];

/// Values in one input of a trial; larger ones are not tried.
const MOST_VALUES: usize = 1 << 22;

/// Sizes for the dimensions that the file leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Of the first one of each input: often the batch.
    first: usize,
    /// Of the others.
    other: usize,
}

impl Open {
    /// The samples to try for these inputs, the likeliest first.
    pub(super) fn sizes(inputs: &[Input], rows: Option<usize>) -> Vec<Self> {
        let skip = usize::from(rows.is_some());
        let open = |input: &Input| input.dims.iter().skip(skip).filter(|dim| dim.to_i64().is_err()).count();
        let most = inputs.iter().map(open).max().unwrap_or(0);
        let sizes = SIZES.into_iter().flat_map(|other| [Self { first: other, other }, Self { first: 1, other }]);
        let mut sizes: Vec<_> = sizes.collect();
        sizes.dedup();
        sizes.truncate(if most == 0 { 1 } else { sizes.len() });
        sizes
    }
}

/// Inputs for a trial.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) tensors: TVec<TValue>,
}

impl Sample {
    /// For these inputs with so many rows, or none if they are no table. Dimensions of one name get one size.
    pub(super) fn new(inputs: &[Input], rows: Option<usize>, open: Open, fill: Fill) -> Option<Self> {
        let mut sample = Self { shapes: Vec::new(), tensors: TVec::new() };
        let mut named: HashMap<TDim, usize> = HashMap::new();
        for input in inputs {
            let mut size = open.first;
            let mut shape = Vec::with_capacity(input.dims.len());
            for (index, dim) in input.dims.iter().enumerate() {
                shape.push(match (rows, dim.to_i64()) {
                    (Some(rows), _) if index == 0 => rows,
                    (_, Ok(fixed)) => usize::try_from(fixed).ok()?,
                    _ => *named.entry(dim.clone()).or_insert(std::mem::replace(&mut size, open.other)),
                });
            }
            let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim))?;
            if count > MOST_VALUES {
                return None;
            }
            sample.tensors.push(filled(input.datum, &shape, fill).ok()?.into());
            sample.shapes.push(shape);
        }
        Some(sample)
    }

    /// Every sample to try, the likeliest first.
    pub(super) fn all(inputs: &[Input], rows: Option<usize>) -> impl Iterator<Item = Self> {
        let opens = Open::sizes(inputs, rows).into_iter();
        let kinds = opens.flat_map(|open| Fill::ALL.into_iter().map(move |fill| (open, fill)));
        kinds.filter_map(move |(open, fill)| {
            give_way();
            Self::new(inputs, rows, open, fill)
        })
    }

    /// One of its rows.
    pub(super) fn row(&self, row: usize) -> TractResult<Self> {
        let tensors = self.tensors.iter().map(|tensor| Ok(tensor.slice(0, row, row + 1)?.into()));
        let tensors: TVec<TValue> = tensors.collect::<TractResult<_>>()?;
        Ok(Self { shapes: tensors.iter().map(|tensor| tensor.shape().to_vec()).collect(), tensors })
    }
}

fn filled(datum: DatumType, shape: &[usize], fill: Fill) -> TractResult<Tensor> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut float = || if fill == Fill::Zeros { 0.0 } else { random() };
    if datum.is_float() {
        return match datum {
            DatumType::F16 => tensor(shape, || f16::from_f32(float())),
            DatumType::F32 => tensor(shape, float),
            DatumType::F64 => tensor(shape, || f64::from(float())),
            other => bail!("no trial has values of {other:?}"),
        };
    }
    let mut bit = || match fill {
        Fill::Ones => true,
        Fill::Bits => random() < 0.0,
        Fill::Zeros => false,
    };
    match datum {
        DatumType::Bool => tensor(shape, bit),
        DatumType::String => tensor(shape, || u8::from(bit()).to_string()),
        _ if datum.is_integer() => Ok(tensor(shape, || i64::from(bit()))?.cast_to_dt(datum)?.into_owned()),
        other => bail!("no trial has values of {other:?}"),
    }
}

fn tensor<T: Datum>(shape: &[usize], mut value: impl FnMut() -> T) -> TractResult<Tensor> {
    let count = shape.iter().product();
    let values = std::iter::repeat_with(&mut value).take(count).collect();
    Ok(ArrayD::from_shape_vec(IxDyn(shape), values)?.into())
}

/// The verdict on two plans for the same inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first runs.
    Runs,
    /// The first fails on what the other runs on.
    Fails,
    /// Both fail on every sample, so that the samples may be at fault.
    Unknown,
}

/// Whether `many`, a plan for any number of rows, runs on two of them. If it does not where `one` runs on each alone, it is
/// not to be trusted.
pub(super) fn two_rows(many: &Plan, one: Option<&Plan>, inputs: &[Input]) -> Verdict {
    let mut verdict = Verdict::Unknown;
    for both in Sample::all(inputs, Some(2)) {
        if many.run(both.tensors.clone()).is_ok() {
            return Verdict::Runs;
        }
        let alone = |row| one.is_some_and(|one| both.row(row).is_ok_and(|row| one.run(row.tensors).is_ok()));
        if alone(0) && alone(1) {
            verdict = Verdict::Fails;
        }
    }
    verdict
}

/// The shortest of some runs; `None` if the plan does not run.
pub(super) fn time(plan: &Plan, sample: &Sample) -> Option<Duration> {
    const RUNS: usize = 12;
    const ENOUGH: Duration = Duration::from_millis(4);
    let timed = guarded(|| {
        let mut state = plan.runnable.spawn()?;
        let (mut best, mut all) = (Duration::MAX, Duration::ZERO);
        for _ in 0..RUNS {
            give_way();
            let start = Instant::now();
            state.run(sample.tensors.clone())?;
            let took = start.elapsed();
            best = best.min(took);
            all += took;
            if all > ENOUGH {
                break;
            }
        }
        Ok(best)
    });
    timed.ok()
}

/// Whether outputs are the same but for the order in which sums are added up.
pub(super) fn agree(one: &[TValue], other: &[TValue]) -> bool {
    /// Of the greatest value.
    const TOLERANCE: f64 = 1e-3;
    let near = |one: &TValue, other: &TValue| -> TractResult<bool> {
        if one.shape() != other.shape() {
            return Ok(false);
        }
        if !one.datum_type().is_float() || one.datum_type() != other.datum_type() {
            // Labels and indices of values that are nearly equal may differ.
            return Ok(true);
        }
        let (one, other) = (one.cast_to::<f64>()?, other.cast_to::<f64>()?);
        let (one, other) = (one.try_as_plain_ram()?, other.try_as_plain_ram()?);
        let (one, other) = (one.as_slice::<f64>()?, other.as_slice::<f64>()?);
        let scale = one.iter().filter(|value| value.is_finite()).fold(1e-6f64, |scale, value| scale.max(value.abs()));
        Ok(one.iter().zip(other).all(|(&one, &other)| {
            let infinite = one.is_infinite() && other.is_infinite() && one.signum().total_cmp(&other.signum()).is_eq();
            (one - other).abs() <= TOLERANCE * scale || infinite || (one.is_nan() && other.is_nan())
        }))
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| near(one, other).unwrap_or(true))
}
