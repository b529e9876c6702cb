//! What becomes of a row.

use tract_onnx::tract_hir::internal::*;

/// What is done to a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    ArgMax { last: bool },
    ArgMin { last: bool },
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

impl How {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ArgMax { .. } => "ArgMax",
            Self::ArgMin { .. } => "ArgMin",
            Self::L1 => "ReduceL1",
            Self::L2 => "ReduceL2",
            Self::LogSum => "ReduceLogSum",
            Self::LogSumExp => "ReduceLogSumExp",
            Self::Max => "ReduceMax",
            Self::Mean => "ReduceMean",
            Self::Min => "ReduceMin",
            Self::Prod => "ReduceProd",
            Self::Sum => "ReduceSum",
            Self::SumSquare => "ReduceSumSquare",
        }
    }

    /// Whether it gives the place of a value in its row.
    pub(super) fn is_place(self) -> bool {
        matches!(self, Self::ArgMax { .. } | Self::ArgMin { .. })
    }

    /// The place of the greatest or least of a row.
    pub(super) fn place<T: Copy + PartialOrd>(self, row: &[T]) -> i64 {
        let mut best = 0;
        for (place, value) in row.iter().enumerate().skip(1) {
            let better = match self {
                Self::ArgMax { last: true } => *value >= row[best],
                Self::ArgMin { last: true } => *value <= row[best],
                Self::ArgMin { .. } => *value < row[best],
                _ => *value > row[best],
            };
            if better {
                best = place;
            }
        }
        best as i64
    }
}

/// Sums in lanes, so that vectors are used; which value is in which lane depends on its place in the row alone.
const LANES: usize = 8;

pub(super) trait Number: Datum + Copy + PartialOrd {
    /// A row as one value; `how` is no place.
    fn fold(how: How, row: &[Self]) -> Self;
}

macro_rules! floats {
    ($($float:ident)*) => { $(
        impl Number for $float {
            fn fold(how: How, row: &[Self]) -> Self {
                let sum = |term: fn(Self) -> Self| {
                    let (chunks, rest) = row.as_chunks::<LANES>();
                    let mut lanes: [Self; LANES] = [0.0; LANES];
                    for chunk in chunks {
                        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
                    }
                    lanes.iter().sum::<Self>() + rest.iter().map(|&value| term(value)).sum::<Self>()
                };
                // A NaN is greater, and less, than all.
                let most = |start: Self, is_better: fn(Self, Self) -> bool| {
                    row.iter().fold(start, |best, &value| if is_better(value, best) || value.is_nan() { value } else { best })
                };
                match how {
                    How::L1 => sum(Self::abs),
                    How::L2 => sum(|value| value * value).sqrt(),
                    How::LogSum => sum(|value| value).ln(),
                    How::LogSumExp => {
                        let greatest = most(Self::NEG_INFINITY, |value, best| value > best);
                        let shift = if greatest.is_finite() { greatest } else { 0.0 };
                        row.iter().map(|&value| (value - shift).exp()).sum::<Self>().ln() + shift
                    }
                    How::Max => most(Self::NEG_INFINITY, |value, best| value > best),
                    How::Min => most(Self::INFINITY, |value, best| value < best),
                    // Of no values, the mean is zero here.
                    How::Mean => sum(|value| value) / row.len().max(1) as Self,
                    How::Prod => row.iter().product(),
                    How::SumSquare => sum(|value| value * value),
                    _ => sum(|value| value),
                }
            }
        }
    )* };
}
floats!(f32 f64);

macro_rules! integers {
    ($($integer:ident)*) => { $(
        impl Number for $integer {
            #[allow(clippy::cast_lossless, reason = "for the types that lose nothing")]
            fn fold(how: How, row: &[Self]) -> Self {
                // Wide enough for sums; what is beyond the type becomes its end.
                let near = |value: i128| Self::try_from(value).unwrap_or(if value < 0 { Self::MIN } else { Self::MAX });
                let sum = |term: fn(i128) -> i128| {
                    row.iter().fold(0i128, |sum, &value| sum.saturating_add(term(value.into())))
                };
                // As singles and doubles become whole numbers where nothing of them is left.
                let whole = |value: f64| if value.is_nan() { Self::MIN } else { value as Self };
                match how {
                    How::L1 => near(sum(i128::abs)),
                    How::L2 => whole((sum(|value| value.saturating_mul(value)) as f64).sqrt()),
                    How::LogSum => whole((sum(|value| value) as f64).ln()),
                    How::LogSumExp => {
                        let most = row.iter().max().map_or(0.0, |&most| most as f64);
                        whole(row.iter().map(|&value| (value as f64 - most).exp()).sum::<f64>().ln() + most)
                    }
                    How::Max => row.iter().copied().max().unwrap_or(Self::MIN),
                    How::Min => row.iter().copied().min().unwrap_or(Self::MAX),
                    How::Mean => near(sum(|value| value) / row.len().max(1) as i128),
                    How::Prod => near(row.iter().fold(1i128, |product, &value| product.saturating_mul(value.into()))),
                    How::SumSquare => near(sum(|value| value.saturating_mul(value))),
                    _ => near(sum(|value| value)),
                }
            }
        }
    )* };
}
integers!(i8 i16 i32 i64 u8 u16 u32 u64);
