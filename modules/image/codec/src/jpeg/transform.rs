//! The inverse cosine transform of a block, as libjpeg rounds it (its "slow but accurate" one for integers).
//!
//! It is the algorithm of C. Loeffler, A. Ligtenberg and G. S. Moschytz ("Practical fast 1-D DCT algorithms with 11
//! multiplications", 1989) with factors of 13 fractional bits: over columns first, of which 2 more bits are kept, then over rows.
//! All eight columns, or rows, are done at once.

#![expect(clippy::inline_always, reason = "the steps are one loop over lanes only where all of them are in one place")]

use std::{
    array::from_fn,
    ops::{Add, Mul, Sub},
};

/// Fractional bits of the factors.
const FACTOR: u32 = 13;

/// Bits that are kept between the passes.
const KEPT: u32 = 2;

/// One value for each of eight columns. Numbers of a damaged file may wrap.
#[derive(Clone, Copy)]
struct Lanes([i32; 8]);

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_sub(other.0[lane])))
    }
}

impl Mul<f64> for Lanes {
    type Output = Self;
    /// By a constant, which is rounded to 13 fractional bits first.
    #[inline(always)]
    fn mul(self, factor: f64) -> Self {
        let factor = (factor * f64::from(1 << FACTOR)).round() as i32;
        Self(from_fn(|lane| self.0[lane].wrapping_mul(factor)))
    }
}

impl Lanes {
    #[inline(always)]
    fn shifted_left(self, bits: u32) -> Self {
        Self(from_fn(|lane| self.0[lane] << bits))
    }

    /// Divided by `1 << bits`, rounded to the nearest; halves up.
    #[inline(always)]
    fn rounded(self, bits: u32) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(1 << (bits - 1)) >> bits))
    }
}

/// One dimension, without the last step of rounding: results have 13 fractional bits more than the inputs.
#[inline(always)]
fn transform(block: [Lanes; 8]) -> [Lanes; 8] {
    // The even half.
    let [x0, x1, x2, x3, x4, x5, x6, x7] = block;
    let turned = (x2 + x6) * 0.541_196_100;
    let low = turned - x6 * 1.847_759_065;
    let high = turned + x2 * 0.765_366_865;
    let sum = (x0 + x4).shifted_left(FACTOR);
    let difference = (x0 - x4).shifted_left(FACTOR);
    let even = [sum + high, difference + low, difference - low, sum - high];
    // The odd half.
    let all = (x7 + x3 + x5 + x1) * 1.175_875_602;
    let p73 = all - (x7 + x3) * 1.961_570_560;
    let p51 = all - (x5 + x1) * 0.390_180_644;
    let p71 = (x7 + x1) * 0.899_976_223;
    let p53 = (x5 + x3) * 2.562_915_447;
    let odd = [
        x1 * 1.501_321_110 - p71 + p51,
        x3 * 3.072_711_026 - p53 + p73,
        x5 * 2.053_119_869 - p53 + p51,
        x7 * 0.298_631_336 - p71 + p73,
    ];
    from_fn(|place| if place < 4 { even[place] + odd[place] } else { even[7 - place] - odd[7 - place] })
}

/// The samples of a block, row by row, of its coefficients (in their natural order) and the table that they were divided by.
#[inline]
pub(super) fn samples(coefficients: &[i16; 64], table: &[u16; 64]) -> [[u8; 8]; 8] {
    let rows: [Lanes; 8] = from_fn(|row| {
        Lanes(from_fn(|lane| {
            let place = row * 8 + lane;
            i32::from(coefficients[place]).wrapping_mul(i32::from(table[place]))
        }))
    });
    let columns = transform(rows).map(|row| row.rounded(FACTOR - KEPT));
    let turned = from_fn(|row| Lanes(from_fn(|lane| columns[lane].0[row])));
    // A transform of two dimensions is 8 times as large as its samples, hence 3 more bits.
    let done = transform(turned).map(|row| row.rounded(FACTOR + KEPT + 3));
    from_fn(|row| from_fn(|lane| level(done[lane].0[row])))
}

/// The samples of a block that has nothing but its mean: the same as [`samples`] gives.
#[inline]
pub(super) fn flat(coefficient: i16, table: &[u16; 64]) -> u8 {
    let mean = i32::from(coefficient).wrapping_mul(i32::from(table[0])) << KEPT;
    level(mean.wrapping_add(1 << (KEPT + 2)) >> (KEPT + 3))
}

/// Samples are stored around 0.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to samples")]
fn level(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_the_mean_everywhere() {
        let table = [3; 64];
        for mean in [-2000, -400, -1, 0, 1, 2, 3, 77, 339, 1500] {
            let mut block = [0; 64];
            block[0] = mean;
            assert_eq!(samples(&block, &table), [[flat(mean, &table); 8]; 8], "{mean}");
        }
    }

    #[test]
    fn a_block_is_near_the_exact_transform() {
        let table = [1; 64];
        let mut block = [0i16; 64];
        for (place, value) in block.iter_mut().enumerate() {
            *value = ((place * 37 + 11) % 61) as i16 - 30;
        }
        let got = samples(&block, &table);
        let scale = |frequency: usize| if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave = |place: usize, frequency: usize| {
            ((2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos() * scale(frequency) / 2.0
        };
        for (y, row) in got.iter().enumerate() {
            for (x, got) in row.iter().enumerate() {
                let terms = (0..64).map(|at| f64::from(block[at]) * wave(x, at % 8) * wave(y, at / 8));
                let exact = (terms.sum::<f64>() + 128.0).clamp(0.0, 255.0);
                assert!((f64::from(*got) - exact).abs() < 0.6, "{x} {y}: {got} {exact}");
            }
        }
    }

    #[test]
    fn a_damaged_block_is_no_panic() {
        samples(&[i16::MIN; 64], &[u16::MAX; 64]);
        flat(i16::MIN, &[u16::MAX; 64]);
    }
}
