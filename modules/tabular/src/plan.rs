//! The configuration, checked and laid out as lanes.

use std::fmt::Display;

use modelgate_module::{Column, Datatype, Signature};
use tabular_kernel::{Kernel, Lane, Sink, Source};

use crate::{
    config::{Block, Config, Input, Scalar, Text},
    step::{Draft, Held},
};

/// The steps of `process`.
pub(crate) struct Plan {
    pub(crate) kernel: Kernel,
    /// For each lane what its column may be, to be told to callers; empty if it is not categorical.
    pub(crate) categories: Vec<Vec<Scalar>>,
    /// The matrix's name.
    pub(crate) output: String,
    /// Whether the matrix is in single precision.
    pub(crate) single: bool,
    /// The columns of text behind the matrix.
    pub(crate) texts: Vec<Passed>,
}

/// A column of text that is handed on.
pub(crate) struct Passed {
    pub(crate) name: String,
    pub(crate) input: usize,
    pub(crate) missing: String,
}

/// Fails with what is wrong, and in which block, step and column.
pub(crate) fn plan(config: Config) -> Result<(Plan, Signature), String> {
    let Config { inputs, output, blocks, texts } = config;
    let mut columns = inputs.into_iter().map(input).collect::<Result<Vec<_>, _>>()?;
    let datatype = match output.datatype.as_str() {
        "f32" => Datatype::F32,
        "f64" => Datatype::F64,
        other => {
            return Err(format!("output '{}': expected datatype f32 or f64, got {other:?}", output.name));
        }
    };
    let mut kernel = Kernel { lanes: Vec::new(), width: 0 };
    let mut categories = Vec::new();
    for (place, steps) in blocks.into_iter().enumerate() {
        block(steps, &mut columns, &mut kernel, &mut categories)
            .map_err(|message| format!("block {place}{message}"))?;
    }
    if kernel.width == 0 {
        return Err("`blocks` give no column: expected at least one".to_owned());
    }
    // A column in no block is checked all the same: what is refused does not depend on what is used.
    for (input, column) in columns.iter().enumerate() {
        if column.datatype != Datatype::Bytes && kernel.lanes.iter().all(|lane| lane.input != input) {
            kernel.lanes.push(Lane { input, source: Source::Number, ops: Vec::new(), sink: Sink::Nothing });
            categories.push(Vec::new());
        }
    }
    let shape = [-1, i64::try_from(kernel.width).map_err(|_| "the matrix is too wide")?];
    let mut outputs = vec![Column::new(output.name.as_str(), datatype, shape)];
    let mut passed = Vec::with_capacity(texts.len());
    for entry in texts {
        let text = text(entry, &columns).map_err(|message| "texts: ".to_owned() + &message)?;
        if outputs.iter().any(|column| column.name == text.name) {
            return Err(format!("texts: '{}' is the name of another output", text.name));
        }
        outputs.push(Column::new(text.name.as_str(), Datatype::Bytes, [-1, 1]));
        passed.push(text);
    }
    let plan = Plan { kernel, categories, output: output.name, single: datatype == Datatype::F32, texts: passed };
    Ok((plan, Signature { inputs: columns, outputs }))
}

fn input(input: Input) -> Result<Column, String> {
    let Input { name, datatype, nullable, categories } = input;
    match Datatype::from_name(&datatype) {
        Some(datatype) if datatype != Datatype::F16 => {
            let column = Column::scalar(name, datatype);
            Ok(Column { nullable, categories: categories.unwrap_or_default(), ..column })
        }
        _ => Err(format!(
            "input '{name}': expected a datatype bool, u8 to u64, i8 to i64, f32, f64 or bytes, got {datatype:?}"
        )),
    }
}

fn text(text: Text, inputs: &[Column]) -> Result<Passed, String> {
    let Text { column: name, missing } = text;
    let input = inputs
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| format!("column '{name}' is not among the inputs"))?;
    if inputs[input].datatype != Datatype::Bytes {
        return Err(format!("column '{name}' is no text"));
    }
    if inputs[input].nullable && missing.is_none() {
        return Err(format!("column '{name}' is nullable: expected `missing`, the text that stands for a missing one"));
    }
    Ok(Passed { name, input, missing: missing.unwrap_or_default() })
}

/// Appends the block's lanes. The message begins behind "block 3".
fn block(block: Block, inputs: &mut [Column], kernel: &mut Kernel, known: &mut Vec<Vec<Scalar>>) -> Result<(), String> {
    let Block { columns, steps } = block;
    if columns.is_empty() {
        return Err(": `columns` is empty".to_owned());
    }
    let mut drafts = Vec::with_capacity(columns.len());
    for name in columns {
        let input = inputs
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| format!(": column '{name}' is not among the inputs"))?;
        drafts.push(Draft::new(name, input, inputs[input].datatype == Datatype::Bytes));
    }
    let mut indicators = Vec::new();
    for (place, mut step) in steps.into_iter().enumerate() {
        let op = step.op.clone();
        let at = |message: String| format!(", step {place} ({op}): {message}");
        step.apply(&mut drafts, &mut indicators).map_err(at)?;
        if let Some(field) = step.leftover() {
            return Err(at(format!("`{field}` does not belong here")));
        }
    }
    for draft in drafts.into_iter().chain(indicators) {
        let told = &mut inputs[draft.input].categories;
        if told.is_empty() {
            *told = shown(&draft.categories);
        }
        let sink = match draft.held {
            Held::Number => Sink::Number(kernel.width),
            Held::OneHot(_) => Sink::OneHot(kernel.width),
            Held::Text { .. } => {
                return Err(format!(": column '{}' is text: expected a step `one_hot` or `ordinal`", draft.name));
            }
        };
        kernel.width += match draft.held {
            Held::OneHot(size) => size,
            _ => 1,
        };
        let Draft { input, source, ops, categories, .. } = draft;
        kernel.lanes.push(Lane { input, source, ops, sink });
        known.push(categories);
    }
    Ok(())
}

/// The categories as callers are shown them: without the missing one.
fn shown(categories: &[Scalar]) -> Vec<String> {
    let each = categories.iter().filter_map(|category| match category {
        Scalar::Null => None,
        Scalar::Number(number) => Some(number.to_string()),
        Scalar::Text(text) => Some(text.clone()),
    });
    each.collect()
}

/// `"a", "b", … (40 in all)`
pub(crate) fn some_of(values: &[impl Display]) -> String {
    const MOST: usize = 20;
    let text = values.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if values.len() > MOST { format!("{text}, … ({} in all)", values.len()) } else { text }
}
