//! CSV as pandas writes it: a line of names, then a line for each row.

use modelgate_columns::{Batch, Column, Datatype};

use crate::{
    bounds::Bounds,
    echo::echo as shown,
    json::decode::{
        DecodeError, Inputs,
        builder::{Builder, pack},
        frame::{self, Frame},
    },
};

/// Texts that pandas reads as missing.
const MISSING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "null",
];

/// Of these, what says of itself that it is a number.
const NAN: [&str; 4] = ["NaN", "nan", "-NaN", "-nan"];

/// Texts that pandas reads as an infinity, after the sign.
const INFINITE: [&str; 4] = ["inf", "Inf", "infinity", "Infinity"];

/// Bytes that rows may add between two looks at their bounds.
const BYTES_UNSEEN: usize = 1 << 20;

/// Decodes a table for a bundle that takes `inputs`: columns of one value a row, or one matrix, whose rows the table's are
/// then. Other columns are passed over.
///
/// # Errors
/// [`DecodeError::Table`] for the first thing that is wrong, with its line.
pub fn rows<'p>(text: &str, inputs: Inputs<'_>, bounds: impl Into<Bounds<'p>>) -> Result<Batch, DecodeError> {
    let mut bounds = bounds.into();
    let wrong = |problem: String| Err(DecodeError::Table(problem));
    let columns = inputs.columns;
    let mut lines = Lines { text: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut fields = Vec::new();
    if lines.next(&mut fields, frame::most_names(columns)).map_err(DecodeError::Table)?.is_none() {
        return wrong("expected a line of column names, got nothing".into());
    }
    let mut builders: Vec<_> = columns.iter().map(Builder::new).collect();
    let width = fields.len();
    let frame = Frame::from_names(fields.iter().map(String::as_str), inputs).map_err(DecodeError::Table)?;
    let indices = match frame {
        Frame::Columns(indices) => {
            let is_list = |column: &&Column| column.inner_shape().iter().any(|&size| size != 1);
            if let Some(column) = columns.iter().find(is_list) {
                let problem = format!("column '{}' has more than one value a row, which CSV cannot tell", column.name);
                return wrong(problem);
            }
            indices
        }
        Frame::Matrix => {
            for builder in &mut builders {
                builder.dims[0] = u64::try_from(width).ok();
                builder.forms.nulls = true;
            }
            vec![Some(0); width]
        }
    };
    let mut is_named = vec![false; columns.len()];
    indices.iter().flatten().for_each(|&index| is_named[index] = true);
    let absent: Vec<_> = (0..columns.len()).filter(|&index| !is_named[index]).collect();
    if let Some(column) = absent.iter().map(|&index| &columns[index]).find(|column| !column.nullable) {
        return wrong(format!("column '{}' is missing", column.name));
    }
    let mut rows = 0u32;
    // Bytes that a row takes where nothing of it is told.
    let a_row: usize = columns.iter().map(Builder::missing_bytes).sum();
    let look = u32::try_from(BYTES_UNSEEN / a_row.max(1)).unwrap_or(u32::MAX).max(1);
    let bytes_of = |builders: &[Builder]| -> usize { builders.iter().map(Builder::bytes).sum() };
    while let Some(line) = lines.next(&mut fields, width).map_err(DecodeError::Table)? {
        if rows == bounds.rows {
            return Err(DecodeError::TooManyRows { limit: bounds.rows });
        }
        if rows > 0 && rows.is_multiple_of(look) {
            bounds.reach(bytes_of(&builders)).map_err(DecodeError::Excess)?;
        }
        for (index, field) in indices.iter().zip(fields.iter().map(String::as_str).chain(std::iter::repeat(""))) {
            let Some(index) = *index else { continue };
            put(&columns[index], &mut builders[index], field).map_err(|problem| {
                DecodeError::Table(format!("line {line}, column '{}': {problem}", columns[index].name))
            })?;
        }
        rows += 1;
        for &index in &absent {
            builders[index].push_missing(&columns[index]);
        }
    }
    if rows == 0 {
        return Err(DecodeError::Empty);
    }
    bounds.reach(bytes_of(&builders)).map_err(DecodeError::Excess)?;
    Ok(Batch { rows, words: pack(columns, builders).into() })
}

fn put(column: &Column, builder: &mut Builder, field: &str) -> Result<(), String> {
    if MISSING.contains(&field) || field == "nan" {
        if column.nullable {
            builder.push_missing(column);
            return Ok(());
        }
        let is_number = NAN.contains(&field);
        match column.datatype {
            Datatype::F32 if is_number => builder.push(column, &f32::NAN.to_le_bytes()),
            Datatype::F64 if is_number => builder.push(column, &f64::NAN.to_le_bytes()),
            _ if builder.push_null(column) => {}
            _ => return Err("a value is missing, which this column does not take".into()),
        }
        return Ok(());
    }
    let text = field.trim_matches([' ', '\t']);
    macro_rules! number {
        ($type:ty) => {{
            let whole = || text.parse::<f64>().ok().filter(|value| value.fract() == 0.0 && value.abs() < 9e15);
            let value = text.parse::<$type>().ok().or_else(|| <$type>::try_from(whole()? as i64).ok());
            let value = value.ok_or_else(|| {
                format!("expected an integer from {} to {}, got '{}'", <$type>::MIN, <$type>::MAX, shown(field))
            })?;
            builder.push(column, &value.to_le_bytes());
        }};
    }
    let float = || {
        let is_word = |text: &str| INFINITE.iter().any(|word| text.trim_start_matches(['+', '-']) == *word);
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite() || is_word(text));
        value.ok_or_else(|| format!("expected a number, got '{}'", shown(field)))
    };
    match column.datatype {
        Datatype::Bool => match text.to_ascii_lowercase().as_str() {
            "true" => builder.push(column, &[1]),
            "false" => builder.push(column, &[0]),
            _ => return Err(format!("expected True or False, got '{}'", shown(field))),
        },
        Datatype::U8 => number!(u8),
        Datatype::U16 => number!(u16),
        Datatype::U32 => number!(u32),
        Datatype::U64 => number!(u64),
        Datatype::I8 => number!(i8),
        Datatype::I16 => number!(i16),
        Datatype::I32 => number!(i32),
        Datatype::I64 => number!(i64),
        Datatype::F64 => builder.push(column, &float()?.to_le_bytes()),
        Datatype::F32 => {
            let wide = float()?;
            let narrow = wide as f32;
            if wide.is_finite() && !narrow.is_finite() {
                return Err(format!("'{}' is too large for single precision", shown(field)));
            }
            builder.push(column, &narrow.to_le_bytes());
        }
        Datatype::F16 => return Err("16-bit floats cannot be sent as CSV".into()),
        Datatype::Bytes => {
            builder.push(column, field.as_bytes());
            builder.ends.push(u32::try_from(builder.data.len()).map_err(|_| "the strings exceed 4 GiB".to_owned())?);
        }
    }
    Ok(())
}

/// Reads line by line, quoted fields with line breaks in them as one.
struct Lines<'a> {
    text: &'a str,
    line: usize,
}

impl Lines<'_> {
    /// The fields of the next line that is not blank, and its number; `None` at the end. A line of more than `most` fields
    /// is an error.
    fn next(&mut self, fields: &mut Vec<String>, most: usize) -> Result<Option<usize>, String> {
        loop {
            if self.text.is_empty() {
                return Ok(None);
            }
            let line = self.line;
            fields.clear();
            // Those that are too many are counted and not kept.
            let mut more = 0;
            loop {
                let goes_on = self.field(fields)?;
                more += fields.len().saturating_sub(most);
                fields.truncate(most);
                if !goes_on {
                    break;
                }
            }
            if more > 0 {
                return Err(format!("Expected {most} fields in line {line}, saw {}", most + more));
            }
            if !matches!(fields.as_slice(), [only] if only.is_empty()) {
                return Ok(Some(line));
            }
        }
    }

    /// Appends a field; whether another one follows on this line.
    fn field(&mut self, fields: &mut Vec<String>) -> Result<bool, String> {
        let mut field = String::new();
        if let Some(mut rest) = self.text.strip_prefix('"') {
            let start = self.line;
            loop {
                let end = rest.find('"').ok_or_else(|| format!("the quote of line {start} is not closed"))?;
                field.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
            self.line += field.matches('\n').count();
            self.text = rest;
        }
        let end = self.text.find([',', '\n', '\r']).unwrap_or(self.text.len());
        field.push_str(&self.text[..end]);
        fields.push(field);
        let rest = &self.text[end..];
        if let Some(rest) = rest.strip_prefix(',') {
            self.text = rest;
            // A comma at the very end begins one more field, which is empty.
            if rest.is_empty() {
                fields.push(String::new());
            }
            return Ok(!rest.is_empty());
        }
        self.line += usize::from(!rest.is_empty());
        self.text = rest.strip_prefix("\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Values;

    use super::*;
    use crate::json::decode::NameIndex;

    fn decode(text: &str, columns: &[Column]) -> Result<Batch, DecodeError> {
        rows(text, Inputs { columns, names: &NameIndex::new(columns) }, 3)
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::scalar("n", Datatype::I32),
            Column { nullable: true, ..Column::scalar("age", Datatype::F64) },
            Column::scalar("kind", Datatype::Bytes),
        ]
    }

    #[test]
    fn what_pandas_writes_is_read() {
        let text = ",kind,n,age\r\n0,\"a, \"\"b\"\"\nc\",1,2.5\r\n\r\n1,d,2.0,\r\n2,e,3\r\n";
        let (batch, columns) = (decode(text, &columns()).expect("a table"), columns());
        let views = batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::I32([1, 2, 3])));
        assert_eq!([0, 1, 2].map(|row| views[1].is_valid(row)), [true, false, false]);
        let Values::Bytes(kinds) = views[2].values else { panic!("not bytes") };
        assert_eq!(kinds.iter().collect::<Vec<_>>(), [&b"a, \"b\"\nc"[..], b"d", b"e"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, words) in [
            ("", "column names"),
            ("n,kind\n", "Empty"),
            ("n\n1\n", "'kind' is missing"),
            ("n,kind,n\n", "twice"),
            ("n,kind\n1,a\n2,b,c\n", "Expected 2 fields in line 3, saw 3"),
            ("n,kind\n1,a\n2,\"b\n", "line 3 is not closed"),
            ("n,kind\nx,a\n", "line 2, column 'n': expected an integer"),
            ("n,kind\n1.5,a\n", "expected an integer"),
            ("n,kind\n99999999999,a\n", "expected an integer"),
            ("n,kind\n,a\n", "missing"),
            ("n,kind,age\n1,a,1e999\n", "expected a number"),
            ("n,kind\n1,a\n1,a\n1,a\n1,a\n", "TooManyRows"),
        ] {
            let error = format!("{:?}", decode(text, &columns()).expect_err(text));
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn columns_of_one_value_a_row_may_be_lists_of_one() {
        let columns = [Column::new("n", Datatype::I64, [-1, 1]), Column::new("kind", Datatype::Bytes, [-1, 1])];
        let batch = decode("kind,n\na,1\nb,2\n", &columns).expect("a table");
        let views = batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::I64([1, 2])));
    }

    #[test]
    fn a_table_of_a_matrix_is_its_values() {
        for width in [3, -1] {
            let columns = [Column::new("x", Datatype::F64, [-1, width])];
            let batch = decode("a,b,c\n1,2.5,inf\n-inf,NaN,3\n", &columns).expect("a table");
            let views = batch.views(&columns).expect("well packed");
            let Values::F64([1.0, 2.5, f64::INFINITY, f64::NEG_INFINITY, nan, 3.0]) = views[0].values else {
                panic!("{:?}", views[0].values)
            };
            assert!(nan.is_nan());
        }
        let columns = [Column::new("x", Datatype::F64, [-1, 3])];
        let batch = decode("a,b,c\n1,,3\n", &columns).expect("pandas writes NaN so");
        let views = batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::F64([1.0, nan, 3.0]) if nan.is_nan()));
        for (text, words) in [
            ("a,b\n1,2\n", "which is 3"),
            ("x,b,c\n1,2,3\n", "more than one value"),
            ("a,b,c\n1,2,3,4\n", "Expected 3 fields"),
        ] {
            let error = format!("{:?}", decode(text, &columns).expect_err(text));
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
