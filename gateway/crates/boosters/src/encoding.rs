//! The categories of a frame that XGBoost (3.1 and later) or LightGBM was trained with: a value stands for its place among
//! them.

use std::collections::HashMap;

use crate::document::Document;
use crate::error::{Read, Reader};

/// The way from a feature's values to their codes.
#[derive(Clone, Debug)]
pub(crate) enum Encoding {
    /// The values are the features' own.
    None,
    /// Texts.
    Texts(HashMap<Vec<u8>, u32>),
    /// Numbers, by their bits.
    Numbers(HashMap<u64, u32>),
}

impl Encoding {
    /// The code of a text.
    pub(crate) fn text(&self, text: &[u8]) -> Option<f64> {
        match self {
            Self::Texts(indices) => indices.get(text).map(|&index| f64::from(index)),
            _ => None,
        }
    }

    /// The code of a number, or the number itself where there is no encoding.
    pub(crate) fn number(&self, number: f64) -> Option<f64> {
        match self {
            Self::Numbers(_) if number.is_nan() => Some(number),
            // Plus 0.0, for a zero has two signs.
            Self::Numbers(indices) => indices.get(&(number + 0.0).to_bits()).map(|&index| f64::from(index)),
            Self::None => Some(number),
            Self::Texts(_) => None,
        }
    }

    /// Bytes held, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Texts(indices) => indices.keys().map(|text| text.len() + 48).sum(),
            Self::Numbers(indices) => indices.len() * 16,
        }
    }
}

/// The encodings of so many features; empty where there are none at all.
pub(crate) fn read(reader: Reader, model: &Document, features: usize) -> Read<Vec<Encoding>> {
    let Some(columns) = model.get("cats").and_then(|cats| cats.get("enc")).and_then(Document::list) else {
        return Ok(Vec::new());
    };
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    if columns.len() != features {
        return Err(reader.corrupt(format!("{} encodings of {features} features", columns.len())));
    }
    let encodings = columns.iter().map(|column| one(reader, column)).collect::<Read<Vec<_>>>()?;
    let is_plain = encodings.iter().all(|encoding| matches!(encoding, Encoding::None));
    Ok(if is_plain { Vec::new() } else { encodings })
}

fn one(reader: Reader, column: &Document) -> Read<Encoding> {
    if column.get("offsets").is_some() {
        return texts(reader, column);
    }
    let values = column.numbers_of(reader, "values")?;
    let mut indices = HashMap::new();
    for (index, value) in values.iter().enumerate() {
        let single = *value as f32;
        // A request's single names no category that singles cannot tell apart.
        if f64::from(single).to_bits() != (value + 0.0).to_bits() {
            return Err(reader.unsupported(format!("the category {value}, which is no single")));
        }
        indices.insert((value + 0.0).to_bits(), index as u32);
    }
    if indices.len() != values.len() {
        return Err(reader.corrupt("a category comes twice"));
    }
    Ok(if indices.is_empty() { Encoding::None } else { Encoding::Numbers(indices) })
}

fn texts(reader: Reader, column: &Document) -> Read<Encoding> {
    let wrong = || reader.corrupt("the names of categories are not in order");
    let offsets = column.integers_of(reader, "offsets")?;
    let bytes = column.integers_of(reader, "values")?;
    let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
    if !bytes.is_ascii() {
        // XGBoost counts characters where it means bytes: names run into one another.
        return Err(reader.unsupported("names of categories that are not ASCII"));
    }
    let mut indices = HashMap::new();
    for (index, pair) in offsets.windows(2).enumerate() {
        let (start, end) = (usize::try_from(pair[0]).ok(), usize::try_from(pair[1]).ok());
        let text = start.zip(end).and_then(|(start, end)| bytes.get(start..end)).ok_or_else(wrong)?;
        if indices.insert(text.to_vec(), u32::try_from(index).map_err(|_| wrong())?).is_some() {
            return Err(reader.corrupt("a category comes twice"));
        }
    }
    Ok(if indices.is_empty() { Encoding::None } else { Encoding::Texts(indices) })
}

/// The encodings of LightGBM's features: those of the columns that were categories, one after another.
pub(crate) fn of_pandas(reader: Reader, columns: &[Document], is_category: &[bool]) -> Read<Vec<Encoding>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    if is_category.iter().filter(|&&is_category| is_category).count() != columns.len() {
        return Err(reader.unsupported("categories of a frame, and does not tell of which columns"));
    }
    let mut columns = columns.iter();
    let mut encodings = Vec::with_capacity(is_category.len());
    for &is_category in is_category {
        let column = if is_category { columns.next() } else { None };
        encodings.push(column.map_or(Ok(Encoding::None), |column| values(reader, column))?);
    }
    Ok(encodings)
}

/// Categories that are listed: texts, numbers, or no and yes, which count as 0 and 1.
fn values(reader: Reader, column: &Document) -> Read<Encoding> {
    let (encoding, count) = if let Some(numbers) = column.numbers().or_else(|| flags(column)) {
        let indices = numbers.iter().enumerate().map(|(index, number)| ((number + 0.0).to_bits(), index as u32));
        (Encoding::Numbers(indices.collect()), numbers.len())
    } else {
        let texts =
            column.texts().ok_or_else(|| reader.unsupported("categories that are neither texts nor numbers"))?;
        let count = texts.len();
        let indices = texts.into_iter().enumerate().map(|(index, text)| (text.into_bytes(), index as u32));
        (Encoding::Texts(indices.collect()), count)
    };
    let held = match &encoding {
        Encoding::None => 0,
        Encoding::Texts(indices) => indices.len(),
        Encoding::Numbers(indices) => indices.len(),
    };
    if held == count { Ok(encoding) } else { Err(reader.corrupt("a category comes twice")) }
}

fn flags(column: &Document) -> Option<Vec<f64>> {
    let flags = column.list()?.iter().map(|flag| match flag {
        Document::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    });
    flags.collect()
}
