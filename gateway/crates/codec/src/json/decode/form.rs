//! Forms that are uploaded: each part is a value of the column of its name, as text or as a file. A name that comes several
//! times has a value for each row.

use serde::de::{DeserializeSeed, IntoDeserializer, value::StrDeserializer};
use serde_json::Value;

use modelgate_columns::Datatype;

use super::{
    Inputs,
    builder::Forms,
    cell::Cell,
    state::{DecodeError, Decoded, Keys, Policy, State},
};
use crate::{bounds::Bounds, multipart};

/// Decodes a form for a bundle that takes `inputs`. Texts are taken as pydantic's default mode takes them.
///
/// # Errors
/// [`DecodeError::Table`] for a body that is no form, else as [`rows_within`](super::rows_within).
pub fn form_within(
    body: &[u8],
    boundary: &str,
    inputs: Inputs<'_>,
    policy: Policy<'_>,
    bounds: Bounds<'_>,
) -> Result<Decoded, DecodeError> {
    let forms = Forms { lax: true, ..Forms::default() };
    let mut state = State::new(inputs, Keys::Refused, policy, bounds, forms);
    let mut values: Vec<Vec<&[u8]>> = vec![Vec::new(); state.columns.len()];
    for part in multipart::parts(body, boundary) {
        let part = part.map_err(|problem| DecodeError::Table(format!("multipart/form-data: {problem}")))?;
        match state.find(&part.name, 0) {
            Some(place) if values[place].len() >= policy.max_rows as usize => {
                return Err(DecodeError::TooManyRows { limit: policy.max_rows });
            }
            Some(place) => values[place].push(part.value),
            None if state.passes_over(&part.name) => {}
            None => state.fault(&part.name, ("extra_forbidden", "Extra inputs are not permitted".into()), Value::Null),
        }
    }
    let rows = values.iter().map(Vec::len).max().unwrap_or(0);
    if rows == 0 && state.errors.is_empty() {
        return Err(DecodeError::Empty);
    }
    state.list = rows > 1;
    let parsed = (0..rows).try_for_each(|row| read_row(&mut state, &values, row));
    state.finish(parsed)
}

fn read_row(state: &mut State<'_>, values: &[Vec<&[u8]>], row: usize) -> serde_json::Result<()> {
    state.begin_row::<serde_json::Error>()?;
    for (place, values) in values.iter().enumerate() {
        let Some(value) = values.get(row) else { continue };
        let (column, builder) = (&state.columns[place], &mut state.builders[place]);
        builder.seen = state.rows + 1;
        let cell = Cell { column, builder, depth: 0 };
        let fault = match str::from_utf8(value) {
            _ if column.datatype == Datatype::Bytes && cell.at_leaf() => {
                cell.string(value);
                None
            }
            Ok(text) => {
                let text: StrDeserializer<'_, serde_json::Error> = text.trim_ascii().into_deserializer();
                cell.deserialize(text)?
            }
            Err(_) => Some((("string_unicode", "Input should be text in UTF-8".into()), Value::Null)),
        };
        if let Some((told, input)) = fault {
            let name = column.name.clone();
            state.fault(&name, told, input);
        }
        let bytes = state.bytes();
        state.reach::<serde_json::Error>(bytes)?;
    }
    state.end_row();
    Ok(())
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Values};

    use super::*;
    use crate::json::decode::NameIndex;

    fn decode(fields: &[(&str, &[u8])]) -> Result<Vec<(Vec<u8>, f64)>, DecodeError> {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        let columns =
            [Column::scalar("image", Datatype::Bytes), Column { nullable: true, ..Column::scalar("n", Datatype::F64) }];
        let inputs = Inputs { columns: &columns, names: &NameIndex::new(&columns) };
        let policy = Policy { max_rows: 2, ..Policy::default() };
        let decoded = form_within(&body, "B", inputs, policy, Bounds::new(2, 1 << 20, body.len()))?;
        assert_eq!(decoded.list, decoded.batch.rows > 1);
        let views = decoded.batch.views(&columns).expect("well packed");
        let (Values::Bytes(files), Values::F64(numbers)) = (views[0].values, views[1].values) else { panic!("types") };
        Ok(files.iter().map(<[u8]>::to_vec).zip(numbers.iter().copied()).collect())
    }

    #[test]
    fn parts_become_columns() {
        let (file, other) = (&b"\xff\xd8\0\r\n--A"[..], &b""[..]);
        let one = decode(&[("n", &b" 2.5\n"[..]), ("image", file)]).expect("a row");
        assert_eq!(one, [(file.to_vec(), 2.5)]);
        let two = decode(&[("image", file), ("image", other), ("n", &b"1"[..])]).expect("two rows");
        assert_eq!((two[0].1, &two[1].0[..], two[1].1.is_nan()), (1.0, other, true));
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(decode(&[]), Err(DecodeError::Empty));
        assert_eq!(decode(&[("image", &b""[..]); 3]), Err(DecodeError::TooManyRows { limit: 2 }));
        let told = |fields: &[(&str, &[u8])]| match decode(fields) {
            Err(DecodeError::Fields(errors)) => {
                errors.into_iter().map(|error| (error.kind, error.field)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            told(&[("n", &b"x"[..]), ("y", &b""[..])]),
            [("extra_forbidden", "y".into()), ("float_parsing", "n".into()), ("missing", "image".into())]
        );
        assert_eq!(told(&[("image", &b"a"[..]), ("n", &b"\xff"[..])]), [("string_unicode", "n".to_owned())]);
    }
}
