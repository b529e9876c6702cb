//! The chain around a model that takes pixels: `builtin:image` before it.

use sha2::{Digest, Sha256};

use crate::labels::{Labels, predict_stage};

/// The stage's configuration among the files of the bundle.
const FILE: &str = "image.json";

/// The lines before the stages. A photograph of 24 megapixels takes some 120 MiB while it is decoded, and one that is stored
/// in several passes twice as many.
const LIMITS: &str = "[limits]\nmemory = \"256MiB\"\ndeadline_ms = 15000\nrows = 64\n";

/// The stages around such a model.
#[derive(Clone, Debug)]
pub struct ImageChain {
    /// The configuration of `builtin:image`, in JSON.
    pub config: Vec<u8>,
    /// Names for the model's classes.
    pub labels: Option<Labels>,
}

impl ImageChain {
    /// The files beside the model: names and bytes.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        [(FILE.to_owned(), self.config.clone())].into_iter().chain(self.labels.as_ref().map(Labels::file)).collect()
    }

    /// The lines of a manifest behind `[model]`.
    pub(crate) fn manifest(&self) -> String {
        format!(
            "{LIMITS}\n[[stage]]\nname = \"image\"\nmodule = \"builtin:image\"\nconfig = \"{FILE}\"\nconfig_sha256 = \"{:x}\"\n\n{}",
            Sha256::digest(&self.config),
            predict_stage(self.labels.as_ref())
        )
    }
}

#[cfg(test)]
mod tests {
    use modelgate_onnx::Mode;

    use super::*;
    use crate::{manifest::Manifest, plain::PlainModel};

    #[test]
    fn the_manifest_names_the_file_that_is_written() {
        let model = PlainModel { graph: ("m.onnx".into(), b"graph".to_vec()), data: Vec::new() };
        let chain = ImageChain { config: b"{}".to_vec(), labels: None };
        let text = model.manifest_of_images(None, None, Mode::Auto, &chain);
        let manifest = Manifest::parse(text.as_bytes()).expect("TOML");
        assert_eq!(manifest.problems(), Vec::<String>::new());
        let [(name, bytes)] = &chain.files()[..] else { panic!("one file") };
        let digest = format!("{:x}", Sha256::digest(bytes));
        let files = manifest.files().expect("digests");
        assert!(files.iter().any(|file| file.file == *name && file.sha256 == digest), "{text}");
    }
}
