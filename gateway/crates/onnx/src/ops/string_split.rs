//! `StringSplit`: the parts of texts, padded to the same number, and how many there are.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built};
use super::values::{strings, tensor};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "StringSplit",
    attributes: &["delimiter", "maxsplit"],
    build: |ctx, node| {
        let attributes = Attributes(node);
        let delimiter = attributes.text("delimiter")?.unwrap_or_default().to_owned();
        let most = attributes.int("maxsplit").and_then(|most| usize::try_from(most).ok());
        let parts = ctx.template.symbols.new_with_prefix("modelgate_parts").to_dim();
        built(node, Arc::new(StringSplit { delimiter, most, parts }))
    },
};

#[derive(Debug)]
struct StringSplit {
    /// Empty for runs of spaces: as ONNX Runtime has it, of no other white space.
    delimiter: String,
    /// Splits made at most.
    most: Option<usize>,
    /// The number of parts of the longest text, which only the texts tell.
    parts: TDim,
}

impl StringSplit {
    fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        // As ONNX Runtime has it, an empty text has no parts.
        if text.is_empty() {
            return Vec::new();
        }
        if !self.delimiter.is_empty() {
            return match self.most {
                Some(most) => text.splitn(most.saturating_add(1), self.delimiter.as_str()).collect(),
                None => text.split(self.delimiter.as_str()).collect(),
            };
        }
        let mut parts = Vec::new();
        let mut rest = text.trim_start_matches(' ');
        while !rest.is_empty() {
            if Some(parts.len()) == self.most {
                parts.push(rest.trim_end_matches(' '));
                break;
            }
            let (part, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
            parts.push(part);
            rest = after.trim_start_matches(' ');
        }
        parts
    }
}

impl Kernel for StringSplit {
    fn name(&self) -> &'static str {
        "StringSplit"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
        let mut shape = input.shape.clone();
        // Without texts there are no parts.
        let none = input.shape.iter().any(|size| *size == 0.to_dim());
        shape.push(if none { 0.to_dim() } else { self.parts.clone() });
        Ok(tvec!(Spec::new::<String>(shape), Spec::new::<i64>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let counts = inputs.except(|_| false, "")?;
        let mut found = inputs.listed("")?;
        found.extend(counts);
        Ok(found)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let parts: Vec<Vec<&str>> = strings(input)?.iter().map(|text| self.split(text)).collect();
        let counts = tensor(
            input.shape(),
            parts.iter().map(|parts| Ok(i64::try_from(parts.len())?)).collect::<TractResult<_>>()?,
        )?;
        Ok(tvec!(padded(input.shape(), &parts, "")?, counts))
    }
}

/// Lists of texts as one tensor, the short ones filled up.
pub(super) fn padded(shape: &[usize], lists: &[Vec<&str>], pad: &str) -> TractResult<TValue> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let total = lists.len().saturating_mul(longest);
    ensure!(total <= MOST_PARTS, "{total} parts are over the limit of {MOST_PARTS}");
    let mut out = Vec::with_capacity(total);
    for list in lists {
        out.extend(list.iter().map(|&part| part.to_owned()));
        out.resize_with(out.len() + longest - list.len(), || pad.to_owned());
    }
    let mut shape: TVec<usize> = shape.into();
    shape.push(longest);
    tensor(&shape, out)
}

/// One long text among many short ones makes a large table.
const MOST_PARTS: usize = 1 << 24;
