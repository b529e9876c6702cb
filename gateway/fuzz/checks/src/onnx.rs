//! ONNX files and graphs: loaded and run. A panic in a crate of this repository is a fault there, too, where the loader catches
//! it.

use std::{
    panic::{self, PanicHookInfo},
    process,
    sync::Arc,
};

use arbitrary::Unstructured;
use modelgate_columns::{Column, Datatype, Writer, validate};
use modelgate_onnx::{Model, ModelLimits};

use crate::{
    graph,
    numbers::{NUMBERS, TEXTS},
};

/// Bounds that keep one input from taking seconds.
const LIMITS: ModelLimits = ModelLimits { file_bytes: 1 << 20, nodes: 64 };

/// Any bytes as a file.
pub fn loader(bytes: &[u8]) {
    try_model(bytes, &mut Values::Zeros);
}

/// A graph of operators of ours, made of any bytes.
pub fn operators(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    if let Ok(file) = graph::model(&mut bytes) {
        try_model(&file, &mut Values::Any(bytes));
    }
}

/// The folder of this repository's crates, in the location of a panic.
const OURS: &str = "gateway/";

/// Whether a crate of this repository panicked. tract asserts things that a file may contradict; the operators' crate catches
/// that.
pub fn is_ours(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|index| index.file().contains(OURS))
}

/// Aborts where a crate of this repository panics.
#[expect(clippy::print_stderr, reason = "as any panic is told")]
pub fn abort_where_ours_panics() {
    panic::set_hook(Box::new(|panic| {
        if is_ours(panic) {
            eprintln!("{panic}");
            process::abort();
        }
    }));
}
/// The values that a model is run on.
#[derive(Debug)]
enum Values<'a> {
    /// Nothing but zeros and empty texts.
    Zeros,
    /// Values that the fuzzer gives.
    Any(Unstructured<'a>),
}

impl Values<'_> {
    fn number(&mut self) -> f64 {
        match self {
            Self::Zeros => 0.0,
            Self::Any(bytes) => bytes.choose(&NUMBERS).copied().unwrap_or(0.0),
        }
    }

    fn text(&mut self) -> &'static str {
        match self {
            Self::Zeros => "",
            Self::Any(bytes) => bytes.choose(&TEXTS).copied().unwrap_or(""),
        }
    }

    fn column(&mut self, column: &Column, rows: usize) -> Option<Vec<u64>> {
        let count = column.row_size().filter(|&size| size < 1000)? * rows;
        let mut writer = Writer::default();
        match column.datatype {
            Datatype::F32 => writer.fixed(&(0..count).map(|_| self.number() as f32).collect::<Vec<_>>()),
            Datatype::F64 => writer.fixed(&(0..count).map(|_| self.number()).collect::<Vec<_>>()),
            Datatype::I64 => writer.fixed(&(0..count).map(|_| self.number() as i64).collect::<Vec<_>>()),
            Datatype::I32 => writer.fixed(&(0..count).map(|_| self.number() as i32).collect::<Vec<_>>()),
            Datatype::U8 => writer.fixed(&(0..count).map(|_| self.number() as u8).collect::<Vec<_>>()),
            Datatype::I8 => writer.fixed(&(0..count).map(|_| self.number() as i8).collect::<Vec<_>>()),
            Datatype::Bytes => {
                let texts: Vec<_> = (0..count).map(|_| self.text()).collect();
                writer.strings(texts.iter().map(|text| text.as_bytes())).ok()?;
            }
            _ => return None,
        }
        Some(writer.finish())
    }
}

/// Loads a file, and runs what it is on one row and on three. An answer is packed as the signature says, and the same the
/// second time.
fn try_model(file: &[u8], values: &mut Values<'_>) {
    let Ok(model) = Model::load(file, &LIMITS).map(Arc::new) else { return };
    let signature = model.signature();
    let mut session = model.session();
    for rows in [1, 3] {
        let columns = signature.inputs.iter().map(|column| values.column(column, rows as usize));
        let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return };
        let inputs = columns.concat();
        let Ok(answer) = session.compute(rows, &inputs, None) else { continue };
        validate(&signature.outputs, rows, &answer).expect("an answer is packed as the signature says");
        assert_eq!(session.compute(rows, &inputs, None).ok(), Some(answer), "an answer stays the same");
    }
}
