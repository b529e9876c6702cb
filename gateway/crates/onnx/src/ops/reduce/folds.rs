//! The results of a row.

use tract_onnx::tract_hir::internal::*;

/// The function of a row.
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
    pub(super) fn is_index(self) -> bool {
        matches!(self, Self::ArgMax { .. } | Self::ArgMin { .. })
    }

    /// The place of the greatest or least of a row.
    pub(super) fn index<T: Copy + PartialOrd>(self, row: &[T]) -> i64 {
        let mut best = 0;
        for (index, value) in row.iter().enumerate().skip(1) {
            let better = match self {
                Self::ArgMax { last: true } => *value >= row[best],
                Self::ArgMin { last: true } => *value <= row[best],
                Self::ArgMin { .. } => *value < row[best],
                _ => *value > row[best],
            };
            if better {
                best = index;
            }
        }
        best as i64
    }
}

/// Sums in lanes, so that vectors are used; which value is in which lane depends on its place in the row alone. The lanes
/// and the order in which they are added up are those of ONNX Runtime: where sums cancel, as in a variance that is made of
/// sums of squares, another order is another answer.
const LANES: usize = 8;

pub(super) trait Number: Datum + Copy + PartialOrd {
    /// A row as one value; `how` is no place.
    fn fold(how: How, row: &[Self]) -> Self;

    /// Each column of some rows as one value, summed from the first row to the last, as ONNX Runtime does; `None` where
    /// the order is all the same, or `how` is no sum.
    fn fold_columns(how: How, rows: &[Self], width: usize) -> Option<Vec<Self>> {
        let _ = (how, rows, width);
        None
    }
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
                    let [a, b, c, d, e, f, g, h] = lanes;
                    let mut half = [a + e, b + f, c + g, d + h];
                    let (chunk, rest) = rest.as_chunks::<{ LANES / 2 }>();
                    for chunk in chunk {
                        half.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
                    }
                    let start = (half[0] + half[2]) + (half[1] + half[3]);
                    rest.iter().fold(start, |sum, &value| sum + term(value))
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

            fn fold_columns(how: How, rows: &[Self], width: usize) -> Option<Vec<Self>> {
                let (term, end): (fn(Self) -> Self, fn(Self) -> Self) = match how {
                    How::L1 => (Self::abs, |sum| sum),
                    How::L2 => (|value| value * value, Self::sqrt),
                    How::LogSum => (|value| value, Self::ln),
                    How::Mean | How::Sum => (|value| value, |sum| sum),
                    How::SumSquare => (|value| value * value, |sum| sum),
                    _ => return None,
                };
                let mut sums: Vec<Self> = vec![0.0; width];
                for row in rows.chunks_exact(width) {
                    sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += term(value));
                }
                let count = (rows.len() / width).max(1) as Self;
                for sum in &mut sums {
                    *sum = if matches!(how, How::Mean) { *sum / count } else { end(*sum) };
                }
                Some(sums)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7919 % 1013) as f32 / 97.0 - 5.0).collect()
    }

    /// Bits that ONNX Runtime 1.32 gives for these numbers.
    #[test]
    fn sums_are_added_up_in_the_order_of_onnx_runtime() {
        for (count, bits) in [(21, 0x40c6_9914_u32), (29, 0x4121_faba), (45, 0x418a_4f2e), (64, 0x41b6_83f6)] {
            assert_eq!(f32::fold(How::Sum, &numbers(count)).to_bits(), bits, "{count} numbers");
        }
        for (how, bits) in [
            (How::Sum, [0x410b_e054_u32, 0x41b3_8bda, 0x4174_1fae]),
            (How::Mean, [0x3e0b_e054, 0x3eb3_8bda, 0x3e74_1fae]),
            (How::SumSquare, [0x4413_0a0f, 0x4412_c21a, 0x4412_7e21]),
        ] {
            let sums = f32::fold_columns(how, &numbers(64 * 3), 3).unwrap();
            assert_eq!(sums.into_iter().map(f32::to_bits).collect::<Vec<_>>(), bits, "{how:?}");
        }
    }
}
