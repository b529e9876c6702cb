//! The configuration: a `tokenizer.json` as it is, or an object that has one and the options beside it.

use modelgate_module::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest row, in tokens, where neither the options nor the `tokenizer.json` say one.
const MAX_LENGTH: usize = 512;

/// The longest row that may be configured, in tokens.
const LONGEST: usize = 32_768;

/// Bytes of one text that are taken, unless configured. A tokenizer takes some 200 bytes of memory for each.
const MAX_BYTES: usize = 64 << 10;

/// Tokens of one batch, padding included, unless configured: 2,048 rows of 256.
const MAX_TOKENS: usize = 512 << 10;

/// The file as it is: parsed in two steps, so that a large vocabulary is never a tree of values.
pub(crate) type Config = Box<RawValue>;

/// The options as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    tokenizer: &'a RawValue,
    inputs: Option<Vec<String>>,
    #[serde(default)]
    outputs: Names,
    max_length: Option<usize>,
    padding: Option<Padding>,
    max_bytes: Option<usize>,
    max_tokens: Option<usize>,
}

/// A `tokenizer.json` has a model.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// The names of the outputs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Names {
    pub(crate) ids: String,
    pub(crate) mask: String,
    pub(crate) types: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { ids: "input_ids".into(), mask: "attention_mask".into(), types: "token_type_ids".into() }
    }
}

/// The width of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`padding`: expected \"longest\" or a number of tokens")]
pub(crate) enum Padding {
    /// That of its longest row.
    Longest(Longest),
    /// The same for each batch.
    Fixed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Longest {
    Longest,
}

/// The configuration, parsed but for the tokenizer.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    pub(crate) tokenizer: &'a str,
    /// One, or two for pairs.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Names,
    /// Tokens of a row, special ones included; `None` where the tokenizer's own file decides.
    pub(crate) max_length: Option<usize>,
    pub(crate) padding: Option<Padding>,
    pub(crate) max_bytes: usize,
    pub(crate) max_tokens: usize,
}

impl<'a> Options<'a> {
    /// Fails with what is wrong with the configuration.
    pub(crate) fn parse(config: &'a RawValue) -> Result<Self, Error> {
        let wrong = |error: serde_json::Error| Error::internal(format!("configuration: {error}"));
        let probe: Probe<'_> = serde_json::from_str(config.get()).map_err(wrong)?;
        if probe.model.is_some() {
            return Ok(Self {
                tokenizer: config.get(),
                inputs: vec!["text".into()],
                outputs: Names::default(),
                max_length: None,
                padding: None,
                max_bytes: MAX_BYTES,
                max_tokens: MAX_TOKENS,
            });
        }
        let file: File<'_> = serde_json::from_str(config.get()).map_err(wrong)?;
        let inputs = file.inputs.unwrap_or_else(|| vec!["text".into()]);
        let refuse = |message: &str| Err(Error::internal(["configuration: ", message].concat()));
        if !matches!(inputs.len(), 1 | 2) {
            return refuse("`inputs`: expected one column, or two for pairs");
        }
        let lengths = [file.max_length, file.padding.and_then(Padding::fixed)];
        if lengths.into_iter().flatten().any(|length| !(1..=LONGEST).contains(&length)) {
            return refuse("`max_length` and `padding`: expected 1 to 32768 tokens");
        }
        Ok(Self {
            tokenizer: file.tokenizer.get(),
            inputs,
            outputs: file.outputs,
            max_length: file.max_length,
            padding: file.padding,
            max_bytes: file.max_bytes.unwrap_or(MAX_BYTES),
            max_tokens: file.max_tokens.unwrap_or(MAX_TOKENS),
        })
    }

    /// The longest row, where the `tokenizer.json` says `file`.
    pub(crate) fn max_length(&self, file: Option<usize>) -> usize {
        self.max_length.or(file).unwrap_or(MAX_LENGTH).min(LONGEST)
    }
}

impl Padding {
    pub(crate) const LONGEST: Self = Self::Longest(Longest::Longest);

    pub(crate) fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(length) => Some(length),
            Self::Longest(_) => None,
        }
    }
}
