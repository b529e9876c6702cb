//! The part that all fuzz targets share: a model is loaded and run, and a panic in this repository's code is a crash.

pub mod graph;

use std::panic;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbitrary::Unstructured;
use modelgate_columns::{Column, Datatype, Writer};
use modelgate_onnx::{Model, ModelLimits};

/// Bounds that keep one input from taking seconds.
const LIMITS: ModelLimits = ModelLimits { file_bytes: 1 << 20, nodes: 64 };

/// Values that a comparison, a conversion or an index may get wrong.
const NUMBERS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e-30, 3e38, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

/// Likewise.
const TEXTS: [&str; 8] = ["", "a", "b", "NaN", "-7", "1e999", "Öl und  Öl", "b-c"];

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
const OUR_CRATES: &str = "gateway/crates/";

/// Aborts where a crate of this repository panics, after `then`. tract asserts things that a file may contradict; the
/// operators' crate catches that.
pub fn stop_at_our_panics(then: impl Fn() + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|place| place.file().contains(OUR_CRATES)) {
            eprintln!("{panic}");
            then();
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

/// The number of models that were loaded, and of their runs that gave an answer.
pub static LOADED: AtomicUsize = AtomicUsize::new(0);
/// Likewise.
pub static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Loads a file, and runs what it is on one row and on three.
fn try_model(file: &[u8], values: &mut Values<'_>) {
    let Ok(model) = Model::load(file, &LIMITS).map(Arc::new) else { return };
    LOADED.fetch_add(1, Ordering::Relaxed);
    let mut session = model.session();
    for rows in [1, 3] {
        let columns = model.signature().inputs.iter().map(|column| values.column(column, rows));
        let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return };
        if session.compute(rows as u32, &columns.concat(), None).is_ok() {
            ANSWERED.fetch_add(1, Ordering::Relaxed);
        }
    }
}
