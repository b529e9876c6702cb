//! Whether two answers are the same to the bit, or to a tolerance that a bundle allows.

use modelgate_columns::{Column, Values};

use crate::{json::encode, tensor::Batch};

/// Characters of a value that are told.
const LONGEST: usize = 60;

/// The first output in which two answers of one row differ, with both values; `None` if they are the same.
pub(super) fn difference(columns: &[Column], alone: &Batch, beside: &Batch, tolerance: f64) -> Option<String> {
    if alone.words == beside.words {
        return None;
    }
    let (Ok(ones), Ok(others)) = (alone.views(columns), beside.views(columns)) else {
        return Some("the answers are packed differently".into());
    };
    for ((column, one), other) in columns.iter().zip(&ones).zip(&others) {
        let missing = |index| !one.is_valid(index) && !other.is_valid(index);
        let alike = one.dims == other.dims
            && (0..one.row_size * one.rows).all(|index| {
                missing(index)
                    || one.is_valid(index) == other.is_valid(index) && same(one.values, other.values, index, tolerance)
            });
        if !alike {
            let value = |view| shortened(&encode::to_value(column, view, 0).to_string());
            return Some(format!("output '{}' is {} alone and {}", column.name, value(one), value(other)));
        }
    }
    None
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Equal values at a place. A NaN is one whatever its bits: no client is told more of it.
fn same(one: Values<'_>, other: Values<'_>, index: usize, tolerance: f64) -> bool {
    let near =
        |one: f64, other: f64| one.is_nan() && other.is_nan() || (one - other).abs() <= tolerance * one.abs().max(1.0);
    macro_rules! equal {
        ($one:ident, $other:ident) => {
            $one.get(index) == $other.get(index)
        };
    }
    match (one, other) {
        (Values::F32(one), Values::F32(other)) => match (one.get(index), other.get(index)) {
            (Some(one), Some(other)) => {
                one.to_bits() == other.to_bits()
                    || (tolerance > 0.0 || one.is_nan()) && near((*one).into(), (*other).into())
            }
            _ => false,
        },
        (Values::F64(one), Values::F64(other)) => match (one.get(index), other.get(index)) {
            (Some(one), Some(other)) => {
                one.to_bits() == other.to_bits() || (tolerance > 0.0 || one.is_nan()) && near(*one, *other)
            }
            _ => false,
        },
        (Values::Bool(one), Values::Bool(other)) | (Values::U8(one), Values::U8(other)) => equal!(one, other),
        (Values::U16(one), Values::U16(other)) | (Values::F16(one), Values::F16(other)) => equal!(one, other),
        (Values::U32(one), Values::U32(other)) => equal!(one, other),
        (Values::U64(one), Values::U64(other)) => equal!(one, other),
        (Values::I8(one), Values::I8(other)) => equal!(one, other),
        (Values::I16(one), Values::I16(other)) => equal!(one, other),
        (Values::I32(one), Values::I32(other)) => equal!(one, other),
        (Values::I64(one), Values::I64(other)) => equal!(one, other),
        (Values::Bytes(one), Values::Bytes(other)) => one.get(index) == other.get(index),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Datatype, Writer};

    use super::*;

    fn answer(values: &[f32], text: &str) -> Batch {
        let mut writer = Writer::default();
        writer.fixed(values);
        writer.strings([text.as_bytes()].into_iter()).expect("short");
        Batch { rows: 1, words: writer.finish().into() }
    }

    #[test]
    fn bits_count_unless_a_tolerance_is_given() {
        let columns = [Column::new("p", Datatype::F32, [-1, 2]), Column::scalar("label", Datatype::Bytes)];
        let one = answer(&[0.5, f32::NAN], "a");
        let differs = |other: &Batch, tolerance| difference(&columns, &one, other, tolerance);
        assert_eq!(differs(&answer(&[0.5, -f32::NAN], "a"), 0.0), None);
        let near = answer(&[0.500_000_06, f32::NAN], "a");
        assert!(differs(&near, 0.0).expect("another bit").starts_with("output 'p' is [0.5,null] alone"));
        assert_eq!(differs(&near, 1e-6), None);
        assert!(differs(&answer(&[0.6, f32::NAN], "a"), 1e-6).is_some());
        assert!(differs(&answer(&[0.5, 1.0], "a"), 1e-6).is_some());
        assert!(differs(&answer(&[0.5, f32::NAN], "b"), 1e-6).is_some());
        let zero = (answer(&[0.0, 1.0], ""), answer(&[-0.0, 1.0], ""));
        assert!(difference(&columns, &zero.0, &zero.1, 0.0).is_some());
    }
}
