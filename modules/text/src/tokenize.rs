//! Texts to tokens, within bounds.

use std::ops::Range;

use modelgate_module::{Error, Text};
use tokenizers::{
    ModelWrapper, PaddingDirection, PaddingStrategy, PostProcessor, Tokenizer, TruncationParams,
    utils::parallelism::set_parallelism,
};

use crate::config::{Options, Padding};

/// The padding of a row that is shorter than its batch is wide.
#[derive(Debug)]
pub(crate) struct Pad {
    pub(crate) id: u32,
    pub(crate) kind: u32,
    pub(crate) left: bool,
}

/// The tokens of a batch, one row behind the other.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) ids: Vec<u32>,
    pub(crate) types: Vec<u32>,
    ends: Vec<usize>,
    longest: usize,
}

impl Rows {
    /// The places of a row's tokens.
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[row]
    }
}

pub(crate) struct Tokenize {
    tokenizer: Tokenizer,
    pub(crate) pad: Pad,
    /// `None`: as wide as the longest row, rounded up to a multiple of `multiple`.
    fixed: Option<usize>,
    multiple: usize,
    max_bytes: usize,
    max_tokens: usize,
}

impl Tokenize {
    /// With the options of the stage, those of the tokenizer's file, and the length of the model's inputs where that is
    /// fixed.
    pub(crate) fn new(options: &Options<'_>, model_length: Option<usize>) -> Result<Self, Error> {
        // There is one thread.
        set_parallelism(false);
        let wrong = |message: String| Error::internal(["configuration: ", &message].concat());
        let mut tokenizer: Tokenizer =
            options.tokenizer.parse().map_err(|error| wrong(format!("`tokenizer`: {error}")))?;
        if matches!(tokenizer.get_model(), ModelWrapper::BPE(bpe) if bpe.dropout.is_some_and(|dropout| dropout > 0.0)) {
            return Err(wrong("`tokenizer`: its model has `dropout`, which gives other tokens each time".into()));
        }
        let own = tokenizer.get_padding().cloned();
        let padding = options.padding.or_else(|| match own.as_ref()?.strategy {
            // Belongs to the length at which the file cuts, and would cut at less than what is asked for.
            PaddingStrategy::Fixed(length) if options.max_length.is_none() => Some(Padding::Fixed(length)),
            _ => Some(Padding::LONGEST),
        });
        let fixed = model_length.or(padding.and_then(Padding::fixed));
        let truncation = tokenizer.get_truncation().cloned();
        let max_length = options.max_length(truncation.as_ref().map(|own| own.max_length));
        let max_length = fixed.map_or(max_length, |fixed| max_length.min(fixed));
        let special = tokenizer.get_post_processor().map_or(0, |own| own.added_tokens(options.inputs.len() == 2));
        let truncation = TruncationParams { max_length, ..truncation.unwrap_or_default() };
        if max_length <= special + truncation.stride {
            return Err(wrong(format!(
                "rows of {max_length} tokens have no place for a text beside {special} special ones and a stride of {}",
                truncation.stride
            )));
        }
        tokenizer.with_truncation(Some(truncation)).map_err(|error| wrong(error.to_string()))?;
        tokenizer.with_padding(None);
        let pad = own.as_ref().map_or(Pad { id: 0, kind: 0, left: false }, |own| Pad {
            id: own.pad_id,
            kind: own.pad_type_id,
            left: matches!(own.direction, PaddingDirection::Left),
        });
        let multiple = own.and_then(|own| own.pad_to_multiple_of).unwrap_or(1).max(1);
        let Options { max_bytes, max_tokens, .. } = *options;
        Ok(Self { tokenizer, pad, fixed, multiple, max_bytes, max_tokens })
    }

    /// Adds the tokens of one row: of its text, or of its pair.
    pub(crate) fn row(&self, texts: &[(&str, Text<'_>)], row: usize, rows: &mut Rows) -> Result<(), Error> {
        for (name, texts) in texts {
            let length = texts.get(row).len();
            if length > self.max_bytes {
                let message = format!("expected a text of at most {} bytes, got {length}", self.max_bytes);
                return Err(Error::invalid(*name, row, message));
            }
        }
        let encoding = match texts {
            [(_, text)] => self.tokenizer.encode_fast(text.get(row), true),
            [(_, text), (_, other), ..] => self.tokenizer.encode_fast((text.get(row), other.get(row)), true),
            [] => return Ok(()),
        };
        let encoding =
            encoding.map_err(|error| Error::invalid(texts[0].0, row, format!("cannot be tokenized: {error}")))?;
        rows.ids.extend_from_slice(encoding.get_ids());
        rows.types.extend_from_slice(encoding.get_type_ids());
        rows.ends.push(rows.ids.len());
        rows.longest = rows.longest.max(encoding.len());
        self.bound(rows.ids.len())
    }

    /// The width of the batch: 1 at least, since models take no sequence of nothing.
    pub(crate) fn width(&self, rows: &Rows) -> Result<usize, Error> {
        let width = match self.fixed {
            Some(fixed) => fixed,
            None => rows.longest.max(1).div_ceil(self.multiple).saturating_mul(self.multiple),
        };
        if rows.longest > width {
            return Err(Error::internal(format!("the tokenizer gave {} tokens, {width} at most", rows.longest)));
        }
        self.bound(rows.ends.len().saturating_mul(width))?;
        Ok(width)
    }

    fn bound(&self, tokens: usize) -> Result<(), Error> {
        if tokens <= self.max_tokens {
            return Ok(());
        }
        let message =
            format!("expected at most {} tokens in all rows, padding included: send fewer rows", self.max_tokens);
        Err(Error::invalid_batch(message))
    }
}
