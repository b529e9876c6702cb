//! `StringNormalizer`: changes case and leaves out stop words.

use std::collections::HashSet;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built};
use super::values::{strings, tensor};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "StringNormalizer",
    // Case is changed as Unicode says, in any locale.
    attributes: &["case_change_action", "is_case_sensitive", "locale", "stopwords"],
    build: |ctx, node| {
        let attributes = Attributes(node);
        let case = match attributes.text("case_change_action")?.unwrap_or("NONE") {
            "NONE" | "" => Case::Keep,
            "LOWER" => Case::Lower,
            "UPPER" => Case::Upper,
            other => bail!("attribute 'case_change_action': unknown '{other}'"),
        };
        let sensitive = attributes.int("is_case_sensitive").unwrap_or(0) != 0;
        let words = attributes.strings("stopwords")?.into_iter();
        let stop_words = words.map(|word| if sensitive { word } else { lower(&word) }).collect();
        let kept = ctx.template.symbols.new_with_prefix("modelgate_words").to_dim();
        built(node, Arc::new(StringNormalizer { case, sensitive, stop_words, kept }))
    },
};

#[derive(Clone, Copy, Debug)]
enum Case {
    Keep,
    Lower,
    Upper,
}

#[derive(Debug)]
struct StringNormalizer {
    case: Case,
    /// Whether stop words are compared as they are.
    sensitive: bool,
    /// In lower case unless `sensitive`.
    stop_words: HashSet<String>,
    /// The number of words that are kept, which only the words tell.
    kept: TDim,
}

impl StringNormalizer {
    fn keeps(&self, word: &str) -> bool {
        let word = if self.sensitive { Cow::Borrowed(word) } else { Cow::Owned(lower(word)) };
        !self.stop_words.contains(&*word)
    }

    fn change(&self, word: &str) -> String {
        match self.case {
            Case::Keep => word.to_owned(),
            Case::Lower => lower(word),
            Case::Upper => word.chars().map(|char| single(char, char.to_uppercase())).collect(),
        }
    }
}

/// Each character by itself becomes one: a dotted capital I loses its dot.
fn lower(word: &str) -> String {
    word.chars().map(|char| char.to_lowercase().next().unwrap_or(char)).collect()
}

/// The changed form of a character, if that is a single one.
fn single(char: char, mut becomes: impl Iterator<Item = char>) -> char {
    match (becomes.next(), becomes.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

impl Kernel for StringNormalizer {
    fn name(&self) -> &'static str {
        "StringNormalizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
        let mut shape = input.shape.clone();
        if !self.stop_words.is_empty() {
            match &mut *shape {
                [words] => *words = self.kept.clone(),
                [one, words] if one.is_one() => *words = self.kept.clone(),
                shape => bail!("expected a list of words, got the shape {shape:?}"),
            }
        }
        Ok(tvec!(Spec::new::<String>(shape)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        if self.stop_words.is_empty() {
            return inputs.handed_on(|pad| self.change(pad));
        }
        Err("leaves out words, and with them their rows".into())
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let words = strings(input)?;
        if self.stop_words.is_empty() {
            return Ok(tvec!(tensor(input.shape(), words.iter().map(|word| self.change(word)).collect())?));
        }
        let mut kept: Vec<String> =
            words.iter().filter(|word| self.keeps(word)).map(|word| self.change(word)).collect();
        // The standard wants one word at least.
        if kept.is_empty() {
            kept.push(String::new());
        }
        let mut shape: TVec<usize> = input.shape().into();
        *shape.last_mut().context("expected a list of words")? = kept.len();
        Ok(tvec!(tensor(&shape, kept)?))
    }
}
