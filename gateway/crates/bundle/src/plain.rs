//! A bundle around a plain ONNX file, or a booster's: the model's own inputs and outputs, invoked by `builtin:predict`
//! alone.

use std::path::Path;

use modelgate_onnx::{BoosterForm, Mode};
use sha2::{Digest, Sha256};

use super::{
    booster::BoosterEntry,
    files::{MAX_FILE, read_inside},
    images::ImageChain,
    labels::{Labels, predict_stage},
    manifest::FileRef,
    python,
    text_chain::TextChain,
};

/// Characters of a file's name that become the model's.
const NAME: usize = 64;

/// The version of a plain file where none is given.
const VERSION: &str = "1";

/// A plain ONNX file and the files beside it that hold its larger tensors.
#[derive(Clone, Debug)]
pub struct PlainModel {
    /// The graph's name in its folder, and its bytes.
    pub graph: (String, Vec<u8>),
    /// The same of the files that it names.
    pub data: Vec<(String, Vec<u8>)>,
}

impl PlainModel {
    /// Reads the file and those that it names, which have to lie in its folder.
    ///
    /// # Errors
    /// The file that cannot be read, and why.
    pub fn read(path: &Path) -> Result<Self, String> {
        let message = |problem: String| format!("{}: {problem}", path.display());
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| message("expected a file whose name is UTF-8".into()))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let length = std::fs::metadata(path).map_err(|error| message(error.to_string()))?.len();
        if length > MAX_FILE {
            return Err(message(format!("is larger than {MAX_FILE} bytes")));
        }
        // The file itself may be a link to anywhere: a person named it.
        let onnx = std::fs::read(path).map_err(|error| message(error.to_string()))?;
        if let Some(sentence) = python::object(path, &onnx) {
            return Err(sentence);
        }
        let read = |name: String| match read_inside(folder, &name) {
            Ok(bytes) => Ok((name, bytes)),
            Err(problem) => Err(format!("{name}: {problem}")),
        };
        let data = modelgate_onnx::data_files(onnx.clone()).into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { graph: (name.to_owned(), onnx), data })
    }

    /// Its manifest. Without a name it is called as its file.
    pub fn manifest(&self, name: Option<&str>, version: Option<&str>, mode: Mode) -> String {
        self.manifest_with(name, version, mode, &predict_stage(None))
    }

    /// The same with names for the model's classes.
    pub fn manifest_of_labels(&self, name: Option<&str>, version: Option<&str>, mode: Mode, labels: &Labels) -> String {
        self.manifest_with(name, version, mode, &predict_stage(Some(labels)))
    }

    /// The same around a model that takes tokens.
    pub fn manifest_of_texts(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        mode: Mode,
        texts: &TextChain,
    ) -> String {
        self.manifest_with(name, version, mode, &texts.manifest())
    }

    /// The same around a model that takes pixels.
    pub fn manifest_of_images(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        mode: Mode,
        images: &ImageChain,
    ) -> String {
        self.manifest_with(name, version, mode, &images.manifest())
    }

    fn manifest_with(&self, name: Option<&str>, version: Option<&str>, mode: Mode, chain: &str) -> String {
        let stem = Path::new(&self.graph.0).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let digest = |(name, bytes): &(String, Vec<u8>)| FileRef {
            file: name.clone(),
            sha256: format!("{:x}", Sha256::digest(bytes)),
        };
        let data: Vec<_> = self.data.iter().map(digest).collect();
        let name = name.map_or_else(|| label(stem), str::to_owned);
        with_chain(&name, version.unwrap_or(VERSION), &digest(&self.graph), &data, mode, chain)
    }
}

/// The manifest of a plain ONNX file.
pub fn manifest(name: &str, version: &str, graph: &FileRef, data: &[FileRef], mode: Mode) -> String {
    with_chain(name, version, graph, data, mode, &predict_stage(None))
}

/// The same with other stages in place of `builtin:predict` alone, and what else follows `[model]`.
fn with_chain(name: &str, version: &str, graph: &FileRef, data: &[FileRef], mode: Mode, chain: &str) -> String {
    // A name may have quotes.
    let text = |name: &str| toml::Value::from(name);
    let entry = |file: &FileRef| format!("{{ file = {}, sha256 = \"{}\" }}", text(&file.file), file.sha256);
    let data = match data {
        [] => String::new(),
        files => format!("data = [{}]\n", files.iter().map(entry).collect::<Vec<_>>().join(", ")),
    };
    let mode = match mode {
        Mode::Auto => "",
        Mode::Tables => "mode = \"tables\"\n",
        Mode::Tensors => "mode = \"tensors\"\n",
    };
    format!(
        "format = 1\nname = {}\nversion = {}\ndescription = \"A model without a bundle\"\n\n[model]\nfile = {}\n\
         sha256 = \"{}\"\n{mode}{data}\n{chain}",
        text(name),
        text(version),
        text(&graph.file),
        graph.sha256,
    )
}

/// The manifest of a booster's file that is asked, and answers, in this form.
pub fn booster_manifest(name: &str, version: &str, file: &FileRef, form: &BoosterForm) -> String {
    let plain = manifest(name, version, file, &[], Mode::Auto);
    // Names and types can always be written.
    let form = toml::Value::try_from(BoosterEntry::new(form)).map_or_else(|_| "{}".to_owned(), |form| form.to_string());
    plain.replacen("\n[[stage]]", &format!("booster = {form}\n\n[[stage]]"), 1)
}

/// A name of a bundle made of a file's.
fn label(stem: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    let label: String = stem.chars().take(NAME).map(|char| if plain(char) { char } else { '-' }).collect();
    if label.is_empty() { "model".to_owned() } else { label }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Datatype;
    use modelgate_onnx::{Answers, Feature};

    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn a_manifest_says_what_it_was_given() {
        let graph = FileRef { file: "a \"b\".onnx".into(), sha256: "0".repeat(64) };
        let data = [FileRef { file: "w/x.bin".into(), sha256: "1".repeat(64) }];
        for mode in [Mode::Auto, Mode::Tables, Mode::Tensors] {
            let text = manifest("m", "2", &graph, &data, mode);
            let parsed = Manifest::parse(text.as_bytes()).expect("TOML");
            assert_eq!((parsed.name.as_str(), parsed.version.as_str(), parsed.problems()), ("m", "2", vec![]));
            assert_eq!(parsed.files(), Ok(vec![graph.clone(), data[0].clone()]));
        }
    }

    #[test]
    fn a_boosters_form_is_read_as_it_was_written() {
        let file = FileRef { file: "model.xgb".into(), sha256: "0".repeat(64) };
        let feature = |name: &str, datatype| Feature { name: name.into(), datatype };
        for answers in [Answers::All, Answers::Classes, Answers::Numbers, Answers::Raw] {
            let features = vec![
                feature("a \"b\"\n[[stage]]", Some(Datatype::Bool)),
                feature("é = {}", None),
                feature("it's", Some(Datatype::F64)),
            ];
            for features in [Vec::new(), features] {
                let form = BoosterForm { answers, features };
                let text = booster_manifest("m", "2", &file, &form);
                let parsed = Manifest::parse(text.as_bytes()).expect("TOML");
                assert_eq!((parsed.problems(), parsed.files()), (vec![], Ok(vec![file.clone()])), "{text}");
                let model = parsed.model.expect("a model");
                assert_ne!(model.identity(), file.sha256);
                assert_eq!(model.booster.expect("a form").resolve(), Ok(form));
            }
        }
    }

    #[test]
    fn any_file_has_a_name() {
        for (stem, name) in [("resnet-18", "resnet-18"), ("a b(1)", "a-b-1-"), ("", "model"), ("über", "-ber")] {
            assert_eq!(label(stem), name);
        }
    }
}
