//! The columns that inputs are decoded into, and what holds for every batch of them.

use std::sync::LazyLock;

use modelgate_codec::{
    bounds::Bounds,
    json::decode::{Inputs, NameIndex},
    oip::Interface,
};
use modelgate_columns::{Batch, Column, Datatype, Values, View};

use crate::memory::Allowance;

/// Rows that a request may have.
pub(crate) const ROWS: u32 = 64;

/// Bytes of columns that a request may stand for: as if a module's memory held no more.
const MEMORY: usize = 1 << 20;

/// Memory of a decoder beside the columns: names of a table, and what is told of a hundred problems.
pub(crate) const DECODING: Allowance = Allowance { factor: 32, floor: (1 << 20) + (256 << 10) };

/// Bounds of a body of so many bytes.
pub(crate) fn bounds(body: usize) -> Bounds<'static> {
    Bounds::new(ROWS, MEMORY, body)
}

/// Columns of a model.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) columns: Vec<Column>,
    names: NameIndex,
}

impl Schema {
    fn new(columns: Vec<Column>) -> Self {
        Self { names: NameIndex::new(&columns), columns }
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs { columns: &self.columns, names: &self.names }
    }

    /// A model that takes the columns and gives them back.
    pub(crate) fn interface(&self, tensors: bool) -> Interface<'_> {
        Interface { name: "m", version: "1", inputs: self.inputs(), outputs: &self.columns, dropped: &[], tensors }
    }
}

/// Kinds of tables: of scalars, of lists, of one matrix, with a feature called as the key that names a model.
pub(crate) static TABLES: LazyLock<[Schema; 4]> = LazyLock::new(|| {
    let nullable = |column: Column| Column { nullable: true, ..column };
    let optional = |name: &str, datatype| nullable(Column::scalar(name, datatype));
    let kind = Column { categories: vec!["a".into(), "é".into()], ..optional("kind", Datatype::Bytes) };
    [
        vec![
            Column::scalar("n", Datatype::I32),
            optional("age", Datatype::F64),
            kind,
            optional("ok", Datatype::Bool),
            optional("f", Datatype::F32),
            optional("small", Datatype::U8),
            optional("big", Datatype::U64),
            optional("neg", Datatype::I64),
        ],
        vec![
            Column::new("x", Datatype::F32, [-1, 2]),
            nullable(Column::new("open", Datatype::I64, [-1, -1])),
            Column::new("words", Datatype::Bytes, [-1, 2]),
        ],
        vec![Column::new("x", Datatype::F64, [-1, 3])],
        vec![Column::scalar("model", Datatype::Bytes), optional("year", Datatype::I32)],
    ]
    .map(Schema::new)
});

/// Columns that no table has: half floats, and two sizes left open.
pub(crate) static TENSORS: LazyLock<[Schema; 2]> = LazyLock::new(|| {
    [
        vec![Column::new("h", Datatype::F16, [-1, 2]), Column::scalar("t", Datatype::Bytes)],
        vec![Column::new("c", Datatype::I16, [-1, -1, -1])],
    ]
    .map(Schema::new)
});

/// Every kind.
pub(crate) fn all() -> impl Iterator<Item = &'static Schema> {
    TABLES.iter().chain(TENSORS.iter())
}

/// The views of a batch that a decoder gave.
pub(crate) fn views<'b>(batch: &'b Batch, columns: &[Column]) -> Vec<View<'b>> {
    assert!((1..=ROWS).contains(&batch.rows), "{} rows", batch.rows);
    assert!(batch.size() <= 2 * MEMORY, "{} bytes of columns", batch.size());
    let views = batch.views(columns).expect("a batch is packed as its columns say");
    for (column, view) in columns.iter().zip(&views) {
        let flags = view.validity.unwrap_or_default().iter();
        assert!(flags.copied().all(|flag| flag <= 1), "a validity of {column} is neither 0 nor 1");
        if let Values::Bool(values) = view.values {
            assert!(values.iter().all(|&value| value <= 1), "a value of {column} is neither 0 nor 1");
        }
    }
    views
}

/// Whether a form without a sign for missing values, or for what is no number, says all of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) has_missing: bool,
    /// Whether plain JSON has a form for every value that is there.
    pub(crate) is_json: bool,
}

pub(crate) fn content(views: &[View<'_>]) -> Content {
    let has_missing = views.iter().any(|view| view.validity.is_some_and(|flags| flags.contains(&0)));
    let is_finite = |view: &View<'_>, index: usize, value: f64| !view.is_valid(index) || value.is_finite();
    let is_json = |view: &View<'_>| match view.values {
        Values::F32(values) => (0..).zip(values).all(|(index, &value)| is_finite(view, index, value.into())),
        Values::F64(values) => (0..).zip(values).all(|(index, &value)| is_finite(view, index, value)),
        Values::F16(_) => false,
        Values::Bytes(strings) => strings.iter().all(|text| str::from_utf8(text).is_ok()),
        _ => true,
    };
    Content { has_missing, is_json: views.iter().all(is_json) }
}

/// Panics where a text that goes back to a caller is longer than any caller wants to read.
pub(crate) fn is_short(text: &str) {
    assert!(text.len() <= 8 << 10, "{} bytes are told back: {text:.200}", text.len());
}
