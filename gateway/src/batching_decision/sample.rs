//! Rows made up for a trial: of varied sizes, with missing values and texts as a signature allows.

use modelgate_columns::{Column, Datatype, LayoutError, Writer};

use crate::tensor::Batch;

/// Texts for columns whose categories are not known.
const TEXTS: [&str; 7] = ["", "a", "word", "two words", "7", "Ünïcode, and somewhat longer than the others", "0.5"];

/// Of the values of a row.
const KINDS: [Kind; 6] = [Kind::Small, Kind::Unit, Kind::Ones, Kind::Large, Kind::Missing, Kind::Huge];

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Whole numbers from 0 to 3, which are places in most tables.
    Small,
    /// Between -1 and 1.
    Unit,
    /// One, minus one and zero.
    Ones,
    /// Hundreds.
    Large,
    /// As [`Kind::Unit`], but some are missing.
    Missing,
    /// Millions.
    Huge,
}

/// So many rows, one batch each; sizes that the columns leave open are `open`. The same rows for the same arguments.
///
/// # Errors
/// Strings that are too long together.
pub(super) fn rows(columns: &[Column], open: u64, count: usize) -> Result<Vec<Batch>, LayoutError> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..count).map(|row| batch(columns, open, KINDS[row % KINDS.len()], &mut random)).collect()
}

/// Bytes of one such row; `None` if that overflows.
pub(super) fn row_bytes(columns: &[Column], open: u64) -> Option<usize> {
    columns.iter().try_fold(0usize, |total, column| {
        total.checked_add(values(column, open)?.checked_mul(column.datatype.size().unwrap_or(64))?)
    })
}

fn values(column: &Column, open: u64) -> Option<usize> {
    column.inner_shape().iter().try_fold(1usize, |product, &dim| {
        product.checked_mul(usize::try_from(if dim < 0 { open } else { dim.unsigned_abs() }).ok()?)
    })
}

fn batch(columns: &[Column], open: u64, kind: Kind, random: &mut Random) -> Result<Batch, LayoutError> {
    let mut writer = Writer::default();
    for column in columns {
        let count = values(column, open).unwrap_or(0);
        let varying = column.inner_shape().iter().filter(|&&dim| dim < 0).count();
        writer.dims(&vec![open; varying]);
        if column.nullable {
            let present = |random: &mut Random| u8::from(!matches!(kind, Kind::Missing) || random.below(3) > 0);
            let validity: Vec<u8> = (0..count).map(|_| present(random)).collect();
            writer.validity(&validity);
        }
        fill(&mut writer, column, count, kind, random)?;
    }
    Ok(Batch { rows: 1, words: writer.finish().into() })
}

fn fill(
    writer: &mut Writer,
    column: &Column,
    count: usize,
    kind: Kind,
    random: &mut Random,
) -> Result<(), LayoutError> {
    if column.datatype == Datatype::Bytes {
        let text = |_| match column.categories.len() {
            0 => TEXTS[random.below(TEXTS.len())],
            known => column.categories[random.below(known)].as_str(),
        };
        let texts: Vec<&str> = (0..count).map(text).collect();
        return writer.strings(texts.iter().map(|text| text.as_bytes()));
    }
    if column.datatype == Datatype::F16 {
        writer.fixed(&(0..count).map(|_| random.half(kind)).collect::<Vec<_>>());
        return Ok(());
    }
    let numbers = (0..count).map(|_| random.number(kind));
    match column.datatype {
        Datatype::F32 => writer.fixed(&numbers.map(|value| value as f32).collect::<Vec<_>>()),
        Datatype::F64 => writer.fixed(&numbers.collect::<Vec<_>>()),
        Datatype::I64 => writer.fixed(&numbers.map(|value| value as i64).collect::<Vec<_>>()),
        Datatype::I32 => writer.fixed(&numbers.map(|value| value as i32).collect::<Vec<_>>()),
        Datatype::I16 => writer.fixed(&numbers.map(|value| value as i16).collect::<Vec<_>>()),
        Datatype::I8 => writer.fixed(&numbers.map(|value| value as i8).collect::<Vec<_>>()),
        Datatype::U64 => writer.fixed(&numbers.map(|value| value.abs() as u64).collect::<Vec<_>>()),
        Datatype::U32 => writer.fixed(&numbers.map(|value| value.abs() as u32).collect::<Vec<_>>()),
        Datatype::U16 => writer.fixed(&numbers.map(|value| value.abs() as u16).collect::<Vec<_>>()),
        Datatype::U8 => writer.fixed(&numbers.map(|value| value.abs() as u8).collect::<Vec<_>>()),
        // The others have gone before.
        Datatype::Bool | Datatype::F16 | Datatype::Bytes => {
            writer.fixed(&numbers.map(|value| u8::from(value > 0.0)).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Enough to make rows differ.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn number(&mut self, kind: Kind) -> f64 {
        match kind {
            Kind::Small => self.below(4) as f64,
            Kind::Unit | Kind::Missing => self.unit(),
            Kind::Ones => self.below(3) as f64 - 1.0,
            Kind::Large => self.unit() * 1e3,
            Kind::Huge => self.unit() * 1e6,
        }
    }

    /// The bits of a half, finite and of a size that fits the kind.
    fn half(&mut self, kind: Kind) -> u16 {
        // The exponents of numbers below 4, 1 and 1,024.
        let most = match kind {
            Kind::Small => 17,
            Kind::Large | Kind::Huge => 25,
            Kind::Unit | Kind::Ones | Kind::Missing => 15,
        };
        let exponent = most - self.below(6) as u16;
        (self.below(2) as u16) << 15 | exponent << 10 | self.below(1 << 10) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_well_packed_whatever_the_signature() {
        let mut columns: Vec<Column> =
            Datatype::ALL.into_iter().map(|datatype| Column::new(datatype.name(), datatype, [-1, 3])).collect();
        columns.push(Column { nullable: true, ..Column::new("open", Datatype::F32, [-1, -1, 2]) });
        columns.push(Column { categories: vec!["x".into(), "y".into()], ..Column::scalar("kind", Datatype::Bytes) });
        let rows = rows(&columns, 5, 12).expect("short texts");
        for row in &rows {
            let views = row.views(&columns).expect("well packed");
            assert_eq!(views[Datatype::ALL.len()].shape(&columns[Datatype::ALL.len()]), [1, 5, 2]);
        }
        assert!(rows.iter().enumerate().all(|(index, row)| !rows[..index].contains(row)), "rows differ");
    }
}
