//! The first row of a body, compared with the columns of a model before the body is decoded.

use super::{
    model_key::{Fields, MODEL_KEY, after_space, unescaped},
    names::Inputs,
    state::Policy,
};

/// Whether the first row of a body has the columns of a model that takes `inputs`, where the key [`MODEL_KEY`] names the
/// model: every other key is a column or one that `policy` passes over, and no column that is required lacks. Values are
/// not looked at.
pub fn first_row_fits(body: &[u8], inputs: Inputs<'_>, policy: Policy<'_>) -> bool {
    let body = after_space(body);
    let row = body.strip_prefix(b"[").map_or(body, after_space);
    let Some(object) = row.strip_prefix(b"{") else { return false };
    let mut is_present = vec![false; inputs.columns.len()];
    let mut guess = 0;
    for (key, _) in Fields::new(object) {
        let Some(key) = unescaped(key) else { return false };
        if key == MODEL_KEY {
            continue;
        }
        match inputs.find(&key, guess) {
            Some(position) => {
                is_present[position] = true;
                guess = position + 1;
            }
            None if policy.passes_over(&key) => {}
            None => return false,
        }
    }
    let mut columns = inputs.columns.iter().zip(is_present);
    columns.all(|(column, is_present)| is_present || column.nullable && column.inner_shape().is_empty())
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype};

    use super::{super::names::NameIndex, *};

    #[test]
    fn a_row_fits_the_model_whose_columns_it_has() {
        let mut note = Column::scalar("note", Datatype::Bytes);
        note.nullable = true;
        let columns = [Column::scalar("a", Datatype::F64), note, Column::new("x", Datatype::F32, [-1, 2])];
        let inputs = Inputs { columns: &columns, names: &NameIndex::new(&columns) };
        let dropped = ["id".to_owned()];
        let strict = Policy { max_rows: 1, ignores_extra: false, dropped: &dropped };
        for (body, fits) in [
            (r#"{"a":1,"x":[1,2],"model":"m"}"#, true),
            (r#" [ {"model":"m","x":"of no concern","\u0061":{"b":[1]},"note":null,"id":7} , {"b":1}]"#, true),
            (r#"{"a":1,"model":"m"}"#, false),
            (r#"{"a":1,"x":[1,2],"b":1}"#, false),
            (r#"{"a":1,"x":[1,2"#, true),
            (r#"{"a":1"#, false),
            ("[1]", false),
            ("", false),
        ] {
            assert_eq!(first_row_fits(body.as_bytes(), inputs, strict), fits, "{body}");
        }
        let lenient = Policy { ignores_extra: true, ..strict };
        assert!(first_row_fits(br#"{"a":1,"x":[1,2],"b":1}"#, inputs, lenient));
        // The key names the model, so a column of that name lacks.
        let columns = [Column::scalar("model", Datatype::Bytes)];
        let inputs = Inputs { columns: &columns, names: &NameIndex::new(&columns) };
        assert!(!first_row_fits(br#"{"model":"m"}"#, inputs, strict));
    }
}
