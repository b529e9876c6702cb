//! The schema of one column's value in one row.

use modelgate_columns::{Column, Datatype};
use serde_json::{Map, Value, json};

/// Known values that a schema repeats; a column may have very many.
const MAX_EXAMPLES: usize = 1_000;

/// Known values that a description repeats.
const MAX_REPORTED: usize = 100;

/// The schema of an input.
pub(super) fn input(column: &Column) -> Value {
    // The decoder takes no number for a half: no client can tell which one it means.
    if column.datatype == Datatype::F16 {
        return json!({ "not": {}, "description": "A 16-bit float cannot be sent as JSON." });
    }
    let mut leaf = leaf(column, column.nullable);
    lax(column, &mut leaf);
    if column.datatype == Datatype::F32 {
        leaf.insert("minimum".into(), f64::from(f32::MIN).into());
        leaf.insert("maximum".into(), f64::from(f32::MAX).into());
    }
    let mut text = Vec::new();
    if !column.categories.is_empty() {
        text.push(known_values(&column.categories));
        text.push("Whether another value is accepted is for the model to judge.".into());
    }
    if column.nullable {
        text.push(if is_optional(column) { "May be missing." } else { "Its values may be null." }.into());
    }
    described(nested(column, leaf), &text)
}

/// Text that is read as a number, as an integer and as a boolean.
const FLOAT_TEXT: &str = "^\\s*[+-]?(\\d+(_\\d+)*\\.?|\\d*\\.\\d+)([eE][+-]?\\d+)?\\s*$";
const INTEGER_TEXT: &str = "^\\s*[+-]?\\d+(_\\d+)*(\\.0+)?\\s*$";
const BOOLEAN_TEXT: &str =
    "^([01tTfFyYnN]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF])$";

/// Adds the forms of a value that are taken beside the one of its type, as pydantic's default mode takes them.
fn lax(column: &Column, leaf: &mut Map<String, Value>) {
    let (types, pattern): (&[&str], _) = match column.datatype {
        Datatype::Bytes => return,
        Datatype::Bool => (&["boolean", "integer", "string"], BOOLEAN_TEXT),
        Datatype::F16 | Datatype::F32 | Datatype::F64 => (&["number", "string", "boolean"], FLOAT_TEXT),
        _ => (&["integer", "string", "boolean"], INTEGER_TEXT),
    };
    let null = column.nullable.then_some("null");
    leaf.insert("type".into(), types.iter().copied().chain(null).collect());
    leaf.insert("pattern".into(), pattern.into());
    if column.datatype == Datatype::Bool {
        leaf.insert("minimum".into(), 0.into());
        leaf.insert("maximum".into(), 1.into());
    }
}

/// The schema of an output. JSON has no NaN and no infinities: they come as null.
pub(super) fn output(column: &Column) -> Value {
    let is_float = matches!(column.datatype, Datatype::F16 | Datatype::F32 | Datatype::F64);
    let leaf = leaf(column, column.nullable || is_float);
    let text = match (column.categories.is_empty(), column.inner_shape()) {
        (true, _) => None,
        (false, []) => Some(known_values(&column.categories)),
        (false, _) => Some(format!("One value for each class. {}", known_values(&column.categories))),
    };
    described(nested(column, leaf), text.as_slice())
}

/// Whether a row may leave it out.
pub(super) fn is_optional(column: &Column) -> bool {
    column.nullable && column.inner_shape().is_empty()
}

fn leaf(column: &Column, nullable: bool) -> Map<String, Value> {
    let (kind, format) = match column.datatype {
        Datatype::Bool => ("boolean", None),
        Datatype::U8 => ("integer", Some("uint8")),
        Datatype::U16 => ("integer", Some("uint16")),
        Datatype::U32 => ("integer", Some("uint32")),
        Datatype::U64 => ("integer", Some("uint64")),
        Datatype::I8 => ("integer", Some("int8")),
        Datatype::I16 => ("integer", Some("int16")),
        Datatype::I32 => ("integer", Some("int32")),
        Datatype::I64 => ("integer", Some("int64")),
        Datatype::F16 | Datatype::F32 => ("number", Some("float")),
        Datatype::F64 => ("number", Some("double")),
        Datatype::Bytes => ("string", None),
    };
    let mut schema = Map::new();
    schema.insert("type".into(), if nullable { json!([kind, "null"]) } else { kind.into() });
    if let Some(format) = format {
        schema.insert("format".into(), format.into());
    }
    if let Some((least, most)) = range(column.datatype) {
        schema.insert("minimum".into(), least);
        schema.insert("maximum".into(), most);
    }
    if !column.categories.is_empty() && column.inner_shape().is_empty() {
        let values = column.categories.iter().take(MAX_EXAMPLES).map(|text| value(column.datatype, text)).collect();
        schema.insert("examples".into(), values);
    }
    schema
}

/// The integers that fit.
fn range(datatype: Datatype) -> Option<(Value, Value)> {
    Some(match datatype {
        Datatype::U8 => (u8::MIN.into(), u8::MAX.into()),
        Datatype::U16 => (u16::MIN.into(), u16::MAX.into()),
        Datatype::U32 => (u32::MIN.into(), u32::MAX.into()),
        Datatype::U64 => (u64::MIN.into(), u64::MAX.into()),
        Datatype::I8 => (i8::MIN.into(), i8::MAX.into()),
        Datatype::I16 => (i16::MIN.into(), i16::MAX.into()),
        Datatype::I32 => (i32::MIN.into(), i32::MAX.into()),
        Datatype::I64 => (i64::MIN.into(), i64::MAX.into()),
        Datatype::Bool | Datatype::F16 | Datatype::F32 | Datatype::F64 | Datatype::Bytes => return None,
    })
}

/// A category as it stands in JSON: they are told as text whatever the column's type.
fn value(datatype: Datatype, text: &str) -> Value {
    match datatype {
        Datatype::Bytes => text.into(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

/// Lists around it, one for each inner dimension.
fn nested(column: &Column, leaf: Map<String, Value>) -> Map<String, Value> {
    column.inner_shape().iter().rev().fold(leaf, |items, &size| {
        let mut list = Map::new();
        list.insert("type".into(), "array".into());
        list.insert("items".into(), items.into());
        if size >= 0 {
            list.insert("minItems".into(), size.into());
            list.insert("maxItems".into(), size.into());
        }
        list
    })
}

fn known_values(categories: &[String]) -> String {
    let shown: Vec<_> = categories.iter().take(MAX_REPORTED).map(String::as_str).collect();
    match categories.len() - shown.len() {
        0 => format!("Known values: {}.", shown.join(", ")),
        more => format!("Known values: {} and {more} more.", shown.join(", ")),
    }
}

fn described(mut schema: Map<String, Value>, text: &[String]) -> Value {
    if !text.is_empty() {
        schema.insert("description".into(), text.join(" ").into());
    }
    schema.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_their_range_and_floats_may_come_as_null() {
        let count = Column::scalar("count", Datatype::I8);
        let mut integer = json!({ "type": "integer", "format": "int8", "minimum": -128, "maximum": 127 });
        assert_eq!(output(&count), integer);
        integer["type"] = json!(["integer", "string", "boolean"]);
        integer["pattern"] = INTEGER_TEXT.into();
        assert_eq!(input(&count), integer);
        let score = Column::scalar("score", Datatype::F64);
        let number = json!({ "type": ["number", "string", "boolean"], "format": "double", "pattern": FLOAT_TEXT });
        assert_eq!(input(&score), number);
        assert_eq!(output(&score), json!({ "type": ["number", "null"], "format": "double" }));
        assert_eq!(range(Datatype::U64), Some((json!(0), json!(18_446_744_073_709_551_615_u64))));
    }

    #[test]
    fn known_values_are_examples_and_no_limit() {
        let column = Column {
            nullable: true,
            categories: vec!["Río".into(), "Sur".into()],
            ..Column::scalar("district", Datatype::Bytes)
        };
        assert_eq!(
            input(&column),
            json!({
                "type": ["string", "null"],
                "examples": ["Río", "Sur"],
                "description": "Known values: Río, Sur. Whether another value is accepted is for the model to judge. \
                                May be missing.",
            })
        );
        let numbers = Column { categories: vec!["1".into(), "2".into()], ..Column::scalar("label", Datatype::I64) };
        assert_eq!(output(&numbers)["examples"], json!([1, 2]));
        let many = Column {
            categories: (0..5_000).map(|number| number.to_string()).collect(),
            ..Column::scalar("city", Datatype::Bytes)
        };
        assert_eq!(input(&many)["examples"].as_array().map(Vec::len), Some(MAX_EXAMPLES));
        assert!(input(&many)["description"].as_str().is_some_and(|text| text.contains("99 and 4900 more.")));
    }

    #[test]
    fn inner_dimensions_are_lists() {
        let column = Column { nullable: true, ..Column::new("x", Datatype::Bool, [-1, 2, -1]) };
        assert_eq!(
            input(&column),
            json!({
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {
                    "type": "array",
                    "items": {
                        "type": ["boolean", "integer", "string", "null"],
                        "minimum": 0, "maximum": 1, "pattern": BOOLEAN_TEXT,
                    },
                },
                "description": "Its values may be null.",
            })
        );
        assert!(!is_optional(&column), "only a plain value may be left out");
    }
}
