//! Whether two tensors are equal as far as the order of a sum may change them.

use tract_onnx::tract_hir::internal::*;

use super::file::{Expected, Scale};

/// The tolerance for a value, relative to the sum of its terms, and the smallest number that has all its digits.
fn tolerance(datum: DatumType) -> (f64, f64) {
    match datum {
        DatumType::F16 => (1e-3, 6.2e-5),
        DatumType::F64 => (1e-10, f64::MIN_POSITIVE),
        _ => (1e-5, f64::from(f32::MIN_POSITIVE)),
    }
}

/// The difference, if there is one.
pub(super) fn difference(ours: &Tensor, expected: &Expected) -> Option<String> {
    let theirs = &expected.tensor;
    // tract counts in dimensions where shapes and labels are meant; to a caller these are whole numbers.
    let ours =
        if ours.datum_type() == TDim::datum_type() { ours.cast_to::<i64>().unwrap() } else { Cow::Borrowed(ours) };
    if ours.datum_type() != theirs.datum_type() {
        return Some(format!("the type {:?} for {:?}", ours.datum_type(), theirs.datum_type()));
    }
    if ours.shape() != theirs.shape() {
        return Some(format!("the shape {:?} for {:?}", ours.shape(), theirs.shape()));
    }
    let counts = |index: usize| match &expected.scale {
        Scale::Values => true,
        Scale::One(scale) => !scale.is_nan(),
        Scale::Each(scales) => !scales[index].is_nan(),
    };
    if !theirs.datum_type().is_float() {
        return whole(&ours, theirs, counts);
    }
    let (tolerance, smallest) = tolerance(theirs.datum_type());
    // Numbers with fewer digits than others may be zero, but for halves, which have many of them.
    let half = theirs.datum_type() == DatumType::F16;
    let (ours, theirs) = (ours.cast_to::<f64>().unwrap(), theirs.cast_to::<f64>().unwrap());
    let (ours, theirs) = (ours.try_as_plain_ram().unwrap(), theirs.try_as_plain_ram().unwrap());
    let pairs = ours.as_slice::<f64>().unwrap().iter().zip(theirs.as_slice::<f64>().unwrap());
    let differs = |index: usize, ours: f64, theirs: f64| {
        let scale = match &expected.scale {
            Scale::Values => theirs.abs(),
            Scale::One(scale) => *scale,
            Scale::Each(scales) => scales[index],
        };
        let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
        let finite = ours.is_finite() && theirs.is_finite();
        let allowed = (tolerance * scale).max(if half { tolerance * smallest } else { smallest });
        !(same || finite && (ours - theirs).abs() <= allowed)
    };
    let found = pairs.enumerate().find(|&(index, (&ours, &theirs))| counts(index) && differs(index, ours, theirs));
    found.map(|(index, (ours, theirs))| format!("value {index} is {ours:e} for {theirs:e}"))
}

fn whole(ours: &Tensor, theirs: &Tensor, counts: impl Fn(usize) -> bool) -> Option<String> {
    let texts = |tensor: &Tensor| match tensor.datum_type() {
        DatumType::String => tensor.try_as_plain_ram().unwrap().as_slice::<String>().unwrap().to_vec(),
        DatumType::U64 => list::<u64>(tensor),
        DatumType::Bool => list::<bool>(tensor),
        _ => {
            let tensor = tensor.cast_to::<i64>().unwrap();
            list::<i64>(&tensor)
        }
    };
    let (ours, theirs) = (texts(ours), texts(theirs));
    let index = (0..ours.len()).find(|&index| counts(index) && ours[index] != theirs[index])?;
    Some(format!("value {index} is {:?} for {:?}", ours[index], theirs[index]))
}

fn list<T: Datum + ToString>(tensor: &Tensor) -> Vec<String> {
    tensor.try_as_plain_ram().unwrap().as_slice::<T>().unwrap().iter().map(ToString::to_string).collect()
}
