//! `Tokenizer` of `com.microsoft`, which skl2onnx writes for text vectorizers: texts to lists of words.

use std::sync::Arc;

use regex::Regex;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built};
use super::pattern::compile;
use super::string_split::padded;
use super::values::strings;
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "com.microsoft",
    name: "Tokenizer",
    attributes: &["mark", "mincharnum", "pad_value", "separators", "tokenexp"],
    build: |ctx, node| {
        let tokens = ctx.template.symbols.new_with_prefix("modelgate_tokens").to_dim();
        built(node, Arc::new(parse(node, tokens)?))
    },
};

fn parse(node: &NodeProto, tokens: TDim) -> TractResult<Tokenizer> {
    let node = Attributes(node);
    let separators = node.strings("separators")?;
    let how = match (node.text("tokenexp")?.filter(|pattern| !pattern.is_empty()), separators.as_slice()) {
        // By itself, it stands for each character, line breaks included.
        (Some("."), []) => How::Characters,
        (Some(pattern), []) => How::Matches(compile(pattern)?),
        (None, [all]) if all.is_empty() => How::Characters,
        (None, [_, ..]) => {
            ensure!(separators.iter().all(|separator| !separator.is_empty()), "a separator is empty");
            How::Separators(separators.iter().map(|pattern| compile(pattern)).collect::<TractResult<_>>()?)
        }
        _ => bail!("expected one of 'separators' and 'tokenexp'"),
    };
    let shortest =
        usize::try_from(node.int("mincharnum").unwrap_or(1)).context("attribute 'mincharnum' is negative")?;
    let mark = node.int("mark").unwrap_or(0) != 0;
    let pad = node.text("pad_value")?.unwrap_or_default().to_owned();
    Ok(Tokenizer { how, shortest, mark, pad, tokens })
}

#[derive(Debug)]
enum How {
    /// Each character by itself.
    Characters,
    /// The matches of an expression.
    Matches(Regex),
    /// The text between separators, which apply one after the other.
    Separators(Vec<Regex>),
}

#[derive(Debug)]
struct Tokenizer {
    how: How,
    /// Tokens with fewer characters are left out.
    shortest: usize,
    /// Puts a token before and after each list.
    mark: bool,
    pad: String,
    /// The number of tokens of the longest text, which only the texts tell.
    tokens: TDim,
}

impl Tokenizer {
    fn tokens<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut tokens: Vec<&str> = match &self.how {
            How::Characters => text.char_indices().map(|(at, next)| &text[at..at + next.len_utf8()]).collect(),
            How::Matches(pattern) => pattern.find_iter(text).map(|found| found.as_str()).collect(),
            How::Separators(patterns) => patterns
                .iter()
                .fold(vec![text], |parts, pattern| parts.into_iter().flat_map(|part| pattern.split(part)).collect()),
        };
        tokens.retain(|token| !token.is_empty() && token.chars().take(self.shortest).count() >= self.shortest);
        tokens
    }
}

impl Kernel for Tokenizer {
    fn name(&self) -> &'static str {
        "Tokenizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
        let mut shape = input.shape.clone();
        shape.push(self.tokens.clone());
        Ok(tvec!(Spec::new::<String>(shape)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.listed(&self.pad)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let mut lists: Vec<Vec<&str>> = strings(input)?.iter().map(|text| self.tokens(text)).collect();
        // Without any token there are no marks either.
        if self.mark && lists.iter().any(|tokens| !tokens.is_empty()) {
            for tokens in &mut lists {
                tokens.insert(0, "\u{2}");
                tokens.push("\u{3}");
            }
        }
        Ok(tvec!(padded(input.shape(), &lists, &self.pad)?))
    }
}
