//! `LabelEncoder` and `CategoryMapper` of `ai.onnx.ml`: tables from labels to labels.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::lookup::Lookup;
use crate::rows::{Inputs, Outcome};

pub(super) const LABEL_ENCODER: Operator = Operator {
    domain: ML,
    name: "LabelEncoder",
    attributes: &[
        "classes_strings",
        "default_float",
        "default_int64",
        "default_string",
        "default_tensor",
        "keys_floats",
        "keys_int64s",
        "keys_strings",
        "keys_tensor",
        "values_floats",
        "values_int64s",
        "values_strings",
        "values_tensor",
    ],
    build: |ctx, node| built(node, label_encoder(ctx, node)?),
};

pub(super) const CATEGORY_MAPPER: Operator = Operator {
    domain: ML,
    name: "CategoryMapper",
    attributes: &["cats_int64s", "cats_strings", "default_int64", "default_string"],
    build: |_, node| {
        let attributes = Attributes(node);
        let (names, ints) = (attributes.strings("cats_strings")?, attributes.ints("cats_int64s"));
        built(node, both_ways("CategoryMapper", &names, ints, attributes)?)
    },
};

fn label_encoder(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<Arc<dyn Kernel>> {
    let attributes = Attributes(node);
    // The first version has one list of texts, which stand for their places.
    let classes = attributes.strings("classes_strings")?;
    if !classes.is_empty() {
        let indices: Vec<i64> = (0i64..).take(classes.len()).collect();
        return both_ways("LabelEncoder", &classes, &indices, attributes);
    }
    let keys = list(ctx, attributes, "keys")?;
    let values = list(ctx, attributes, "values")?;
    let default = match attributes.tensor(ctx, "default_tensor")? {
        Some(default) => default,
        None => default(attributes, values.datum_type())?,
    };
    // Before version 4, NaN equals nothing.
    let missing = ctx.model.opset_import.iter().any(|import| import.domain == ML && import.version >= 4);
    let table = Table { name: "LabelEncoder", from_texts: None, from_numbers: None };
    Ok(Arc::new(table.with(&keys, &values, &default, missing)?))
}

/// The attribute of that name and any type.
fn list(ctx: &ParsingContext<'_>, node: Attributes<'_>, name: &str) -> TractResult<Tensor> {
    if let Some(tensor) = node.tensor(ctx, &format!("{name}_tensor"))? {
        return Ok(tensor);
    }
    let (strings, ints) = (node.strings(&format!("{name}_strings"))?, node.ints(&format!("{name}_int64s")));
    let floats = node.floats(&format!("{name}_floats"));
    match (strings.is_empty(), ints, floats) {
        (false, [], []) => Ok(tensor1(&strings)),
        (true, [_, ..], []) => Ok(tensor1(ints)),
        (true, [], [_, ..]) => Ok(tensor1(floats)),
        _ => bail!("expected one of '{name}_strings', '{name}_int64s', '{name}_floats' and '{name}_tensor'"),
    }
}

fn default(node: Attributes<'_>, datum: DatumType) -> TractResult<Tensor> {
    Ok(match datum {
        DatumType::String => tensor1(&[node.text("default_string")?.unwrap_or("_Unused").to_owned()]),
        DatumType::F32 => tensor1(&[node.float("default_float").unwrap_or(-0.0)]),
        DatumType::F64 => tensor1(&[f64::from(node.float("default_float").unwrap_or(-0.0))]),
        other => {
            let default = tensor1(&[node.int("default_int64").unwrap_or(-1)]);
            default.cast_to_dt(other)?.into_owned()
        }
    })
}

/// A table from texts to integers that also goes the other way, as the input's type says.
fn both_ways(name: &'static str, names: &[String], ints: &[i64], node: Attributes<'_>) -> TractResult<Arc<dyn Kernel>> {
    let (names, ints) = (tensor1(names), tensor1(ints));
    let (text, int) = (default(node, String::datum_type())?, default(node, i64::datum_type())?);
    let table = Table { name, from_texts: None, from_numbers: None };
    Ok(Arc::new(table.with(&names, &ints, &int, false)?.with(&ints, &names, &text, false)?))
}

/// A table for each kind of input.
#[derive(Debug)]
struct Table {
    name: &'static str,
    from_texts: Option<Lookup>,
    from_numbers: Option<Lookup>,
}

impl Table {
    fn with(mut self, keys: &Tensor, values: &Tensor, default: &Tensor, missing: bool) -> TractResult<Self> {
        let lookup = Lookup::new(keys, values, default, missing)?;
        if keys.datum_type() == String::datum_type() {
            self.from_texts = Some(lookup);
        } else {
            self.from_numbers = Some(lookup);
        }
        Ok(self)
    }

    fn lookup(&self, input: DatumType) -> TractResult<&Lookup> {
        let lookup = if input == String::datum_type() { &self.from_texts } else { &self.from_numbers };
        lookup.as_ref().with_context(|| format!("it has no keys of the type of its input, {input:?}"))
    }
}

impl Kernel for Table {
    fn name(&self) -> &'static str {
        self.name
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        Ok(tvec!(self.lookup(input.datum)?.output(input)?))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        Ok(tvec!(self.lookup(input.datum_type())?.apply(input)?))
    }
}
