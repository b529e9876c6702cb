//! The chain around a model that takes tokens: `builtin:text` before it, and `builtin:pool` where it embeds tokens.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::labels::Labels;

/// Bytes of linear memory that a chain of texts may take: a batch of 2,048 rows of 256 tokens, several times.
const MEMORY: usize = 128 << 20;

/// Bytes of memory that a byte of a `tokenizer.json` takes: the file itself, read twice, and tables of its vocabulary.
const FACTOR: usize = 12;

/// Rows in one request: as many texts as OpenAI takes.
const ROWS: u32 = 2048;

/// Milliseconds of one request: so many texts, each a run of the model.
const DEADLINE: u32 = 30_000;

/// Bytes between model and module in one request, which holds the embeddings of every token; each run by itself is bounded
/// by the memory.
const HOST_CALLS: &str = "4GiB";

/// The way from the embeddings of tokens to one of their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over tokens.
    Mean,
    /// That of the first token.
    Cls,
    /// The largest of each dimension.
    Max,
}

/// The stages before and behind such a model.
#[derive(Clone, Debug)]
pub struct TextChain {
    /// The bytes of the `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Tokens of a row; `None` where the tokenizer's file decides.
    pub max_length: Option<usize>,
    /// The pooling, and whether embeddings are normalized; `None`: the model's outputs as they are.
    pub pooling: Option<(Pooling, bool)>,
    /// Names for the model's classes, where nothing is pooled.
    pub labels: Option<Labels>,
}

impl TextChain {
    /// The files beside the model: names and bytes.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let text = match self.max_length {
            None => ("tokenizer.json".to_owned(), self.tokenizer.clone()),
            Some(length) => {
                let head = format!("{{\"max_length\": {length}, \"tokenizer\": ");
                ("text.json".to_owned(), [head.as_bytes(), &self.tokenizer, b"}\n"].concat())
            }
        };
        let pool = self.pooling.map(|(pooling, normalize)| {
            let pooling = format!("{pooling:?}").to_lowercase();
            let config = serde_json::json!({ "pooling": pooling, "normalize": normalize, "tokens": "tokens" });
            ("pool.json".to_owned(), format!("{config:#}\n").into_bytes())
        });
        let labels = self.labels.as_ref().filter(|_| self.pooling.is_none()).map(Labels::file);
        [text].into_iter().chain(pool).chain(labels).collect()
    }

    /// The lines of a manifest behind `[model]`.
    pub(crate) fn manifest(&self) -> String {
        let memory = (MEMORY + self.tokenizer.len().saturating_mul(FACTOR)).div_ceil(1 << 20);
        let files = self.files();
        let mut text = format!(
            "[limits]\nmemory = \"{memory}MiB\"\ndeadline_ms = {DEADLINE}\nrows = {ROWS}\nhost_call_bytes = \"{HOST_CALLS}\"\n"
        );
        let stages = ["text", if self.pooling.is_some() { "pool" } else { "predict" }];
        for (index, stage) in stages.into_iter().enumerate() {
            _ = write!(text, "\n[[stage]]\nname = \"{stage}\"\nmodule = \"builtin:{stage}\"\n");
            if let Some((name, bytes)) = files.get(index) {
                _ = write!(text, "config = \"{name}\"\nconfig_sha256 = \"{:x}\"\n", Sha256::digest(bytes));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use modelgate_onnx::Mode;

    use super::*;
    use crate::{manifest::Manifest, plain::PlainModel};

    #[test]
    fn the_manifest_names_the_files_that_are_written() {
        let model = PlainModel { graph: ("m.onnx".into(), b"graph".to_vec()), data: Vec::new() };
        let tokenizer = br#"{"model": {}}"#.to_vec();
        for (max_length, pooling) in [(None, None), (Some(8), Some((Pooling::Cls, true)))] {
            let chain = TextChain { tokenizer: tokenizer.clone(), max_length, pooling, labels: None };
            let text = model.manifest_of_texts(None, None, Mode::Tables, &chain);
            let manifest = Manifest::parse(text.as_bytes()).expect("TOML");
            assert_eq!(manifest.problems(), Vec::<String>::new());
            let named = manifest.files().expect("digests");
            for (name, bytes) in chain.files() {
                let digest = format!("{:x}", Sha256::digest(&bytes));
                assert!(named.iter().any(|file| file.file == name && file.sha256 == digest), "{name} in {text}");
                serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON");
            }
            assert_eq!(named.len(), 1 + chain.files().len());
        }
    }
}
