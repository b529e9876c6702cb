//! Names for the classes of a model that gives scores: `builtin:predict` with a configuration.

use serde_json::json;
use sha2::{Digest, Sha256};

/// The stage's configuration among the files of the bundle.
const FILE: &str = "predict.json";

/// The best classes of a row by their names, and their scores.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The model's output that has a score for each class in a row.
    pub scores: String,
    /// The classes in the order of their scores.
    pub names: Vec<String>,
    /// The number of classes that a row gets. One is a plain value, several are a list, the best first.
    pub top: usize,
    /// Whether probabilities are made of the scores.
    pub softmax: bool,
}

impl Labels {
    /// The file beside the model: its name and its bytes.
    pub fn file(&self) -> (String, Vec<u8>) {
        let mut labels = json!({ "from": self.scores, "pick": "argmax", "classes": self.names });
        let mut scores = json!({ "from": self.scores, "pick": "max" });
        if self.softmax {
            scores["apply"] = "softmax".into();
        }
        let names = if self.top == 1 { ["label", "score"] } else { ["labels", "scores"] };
        for (output, name) in [&mut labels, &mut scores].into_iter().zip(names) {
            output["name"] = name.into();
            if self.top > 1 {
                output["top"] = self.top.into();
            }
        }
        (FILE.to_owned(), format!("{:#}\n", json!({ "outputs": [labels, scores] })).into_bytes())
    }
}

/// The manifest's lines for the stage that invokes the model.
pub(crate) fn predict_stage(labels: Option<&Labels>) -> String {
    let config = labels
        .map(Labels::file)
        .map(|(name, bytes)| format!("config = \"{name}\"\nconfig_sha256 = \"{:x}\"\n", Sha256::digest(bytes)));
    let config = config.unwrap_or_default();
    format!("[[stage]]\nname = \"predict\"\nmodule = \"builtin:predict\"\n{config}")
}

#[cfg(test)]
mod tests {
    use modelgate_onnx::Mode;

    use super::*;
    use crate::{images::ImageChain, manifest::Manifest, plain::PlainModel, text_chain::TextChain};

    #[test]
    fn the_manifest_names_the_file_that_is_written() {
        let model = PlainModel { graph: ("m.onnx".into(), b"graph".to_vec()), data: Vec::new() };
        for top in [1, 2] {
            let labels = Labels { scores: "logits".into(), names: vec!["a".into(), "b".into()], top, softmax: true };
            let (name, bytes) = labels.file();
            let digest = format!("{:x}", Sha256::digest(bytes));
            let images = ImageChain { config: b"{}".to_vec(), labels: Some(labels.clone()) };
            let labelled = Some(labels.clone());
            let texts = TextChain { tokenizer: b"{}".to_vec(), max_length: None, pooling: None, labels: labelled };
            for text in [
                model.manifest_of_labels(None, None, Mode::Auto, &labels),
                model.manifest_of_images(None, None, Mode::Auto, &images),
                model.manifest_of_texts(None, None, Mode::Auto, &texts),
            ] {
                let manifest = Manifest::parse(text.as_bytes()).expect("TOML");
                assert_eq!(manifest.problems(), Vec::<String>::new());
                let files = manifest.files().expect("digests");
                assert!(files.iter().any(|file| file.file == name && file.sha256 == digest), "{text}");
            }
        }
    }
}
