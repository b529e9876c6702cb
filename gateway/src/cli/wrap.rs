//! `modelgate wrap`: a bundle of a plain ONNX file.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{ArgAction, Args, ValueEnum};
use modelgate_columns::{Column, Datatype};
use modelgate_onnx::{Mode, Model, ModelLimits};

use crate::bundle::{
    MANIFEST,
    images::ImageChain,
    labels::Labels,
    plain::PlainModel,
    text_chain::{Pooling, TextChain},
};

/// The classes of an answer.
const TOP: usize = 5;

/// The options of `wrap` for a model that takes tokens.
#[derive(Debug, Args)]
pub(super) struct TextArgs {
    /// Take texts in place of tokens: the `tokenizer.json` that belongs to the model
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Tokens of a text; longer texts are cut [default: as the tokenizer.json says, else 512]
    #[arg(long, value_name = "TOKENS", requires = "tokenizer")]
    max_length: Option<usize>,
    /// Make one embedding of those of a text's tokens [default: mean, where the model embeds tokens]
    #[arg(long, value_enum, requires = "tokenizer")]
    pooling: Option<WrapPooling>,
    /// Divide embeddings by their length [default: true]
    #[arg(long, value_name = "BOOL", requires = "tokenizer", action = ArgAction::Set)]
    normalize: Option<bool>,
}

/// The options of `wrap` for a model that takes pixels.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// Take files of pictures (PNG, JPEG, WebP) in place of pixels: the configuration of `builtin:image`, in JSON
    #[arg(long, value_name = "FILE", conflicts_with = "tokenizer")]
    image: Option<PathBuf>,
}

impl ImageArgs {
    /// The stages around the model; `None` where it is to be served as it is.
    fn chain(&self, labels: Option<&Labels>) -> anyhow::Result<Option<ImageChain>> {
        let Some(path) = &self.image else { return Ok(None) };
        let config = fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&config)
            .with_context(|| path.display().to_string())?;
        Ok(Some(ImageChain { config, labels: labels.cloned() }))
    }
}

/// The options of `wrap` for a model that gives a score for each of its classes.
#[derive(Debug, Args)]
pub(super) struct LabelArgs {
    /// Answer with the best classes by their names, and their scores: a file with a name in each line, or a list in JSON
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Classes of an answer, the best first [default: 5, or all of fewer]
    #[arg(long, value_name = "COUNT", requires = "labels")]
    top: Option<NonZeroUsize>,
    /// Make probabilities of the scores
    #[arg(long, requires = "labels")]
    softmax: bool,
}

impl LabelArgs {
    /// The labels to answer with; `None` for the model's own outputs.
    fn labels(&self, outputs: &[Column]) -> anyhow::Result<Option<Labels>> {
        let Some(path) = &self.labels else { return Ok(None) };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let names: Vec<String> = if text.trim_start().starts_with('[') {
            serde_json::from_str(&text).with_context(|| format!("{}: expected a list of texts", path.display()))?
        } else {
            text.lines().map(|line| line.trim().to_owned()).collect()
        };
        ensure!(!names.is_empty(), "{}: expected the name of a class in each line, and it is empty", path.display());
        let count = names.len();
        let fits = |column: &&Column| {
            matches!(column.datatype, Datatype::F32 | Datatype::F64)
                && matches!(column.shape[..], [_, width] if width == -1 || usize::try_from(width) == Ok(count))
        };
        let Some(scores) = outputs.iter().find(fits) else {
            let gives: Vec<_> = outputs.iter().map(ToString::to_string).collect();
            anyhow::bail!(
                "{} names {count} classes, so the model has to give {count} scores in a row; it gives {}",
                path.display(),
                gives.join(", ")
            );
        };
        let top = self.top.map_or(count.min(TOP), NonZeroUsize::get);
        ensure!(top <= count, "--top: expected {count} at most, the classes that {} names, got {top}", path.display());
        Ok(Some(Labels { scores: scores.name.clone(), names, top, softmax: self.softmax }))
    }
}

/// The options for what is put around a model.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) texts: TextArgs,
    pub(super) images: ImageArgs,
    pub(super) labels: LabelArgs,
}

/// `--pooling` of `wrap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WrapPooling {
    /// The mean over tokens.
    Mean,
    /// That of the first token.
    Cls,
    /// The largest of each dimension.
    Max,
    /// The model's outputs as they are.
    None,
}

impl TextArgs {
    /// The stages around the model; `None` where it is to be served as it is.
    fn chain(&self, outputs: &[Column], labels: Option<&Labels>) -> anyhow::Result<Option<TextChain>> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(None) };
        let embeds = |column: &Column| {
            column.datatype == Datatype::F32 && matches!(column.shape[..], [_, _, width] if width > 0)
        };
        let pooling = match self.pooling {
            None if labels.is_some() || !outputs.iter().any(embeds) => None,
            Some(WrapPooling::None) => None,
            None | Some(WrapPooling::Mean) => Some(Pooling::Mean),
            Some(WrapPooling::Cls) => Some(Pooling::Cls),
            Some(WrapPooling::Max) => Some(Pooling::Max),
        };
        ensure!(
            pooling.is_none() || labels.is_none(),
            "--labels names classes, and --pooling makes embeddings: leave one out"
        );
        Ok(Some(TextChain {
            tokenizer: fs::read(tokenizer).with_context(|| tokenizer.display().to_string())?,
            max_length: self.max_length,
            pooling: pooling.map(|pooling| (pooling, self.normalize.unwrap_or(true))),
            labels: labels.cloned(),
        }))
    }
}

/// Writes a bundle of the file into a folder: the graph, the files that hold its larger tensors, and a manifest with their
/// digests. A file that cannot be served is not wrapped. Gives lines that say what was made.
pub(super) fn wrap(
    file: &Path,
    folder: &Path,
    name: Option<&str>,
    version: Option<&str>,
    mode: Mode,
    around: &Around,
) -> anyhow::Result<Vec<String>> {
    ensure!(!folder.join(MANIFEST).exists(), "{}: there is a bundle already", folder.display());
    let plain = PlainModel::read(file).map_err(anyhow::Error::msg)?;
    let data: BTreeMap<_, _> = plain.data.iter().cloned().collect();
    let model = Model::load_as(mode, plain.graph.1.clone(), data, &ModelLimits::default())
        .with_context(|| file.display().to_string())?;
    let outputs = &model.signature().outputs;
    let labels = around.labels.labels(outputs)?;
    let chain = around.texts.chain(outputs, labels.as_ref())?;
    let images = around.images.chain(labels.as_ref())?;
    let manifest = match (&chain, &images, &labels) {
        (Some(chain), _, _) => plain.manifest_of_texts(name, version, mode, chain),
        (None, Some(images), _) => plain.manifest_of_images(name, version, mode, images),
        (None, None, Some(labels)) => plain.manifest_of_labels(name, version, mode, labels),
        (None, None, None) => plain.manifest(name, version, mode),
    };
    let problems = crate::bundle::Manifest::parse(manifest.as_bytes()).map_err(anyhow::Error::msg)?.problems();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let beside = match (&chain, &images) {
        (Some(chain), _) => chain.files(),
        (None, Some(images)) => images.files(),
        (None, None) => labels.iter().map(Labels::file).collect(),
    };
    for (name, bytes) in plain.data.iter().chain([&plain.graph]).chain(&beside) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    // Last, so that no reader finds a bundle that is not whole.
    fs::write(folder.join(MANIFEST), manifest).with_context(|| MANIFEST)?;
    if let Some(chain) = &chain {
        // With the chain around it, which may not fit the model: what was written is what is checked.
        let message = match chain.pooling {
            None if labels.is_some() => "gives the best classes and their scores",
            Some(_) => "gives one embedding for each: POST /v1/embeddings answers",
            None => "gives the model's outputs",
        };
        return Ok(vec![
            format!("{}: a bundle without golden examples; it takes a column of texts and {message}", folder.display()),
            format!("`modelgate check {}` tells whether model and tokenizer fit", folder.display()),
        ]);
    }
    if images.is_some() {
        return Ok(vec![
            format!("{}: a bundle without golden examples; it takes a column of pictures", folder.display()),
            format!("`modelgate check {}` tells whether model and configuration fit", folder.display()),
        ]);
    }
    let form = if model.is_tensors() { "tensors as the file has them" } else { "rows of a table" };
    let side = |columns: &[Column]| {
        let message = columns.iter().map(|column| {
            let shape = crate::oip::shape(column, model.is_tensors());
            format!("{}: {}{shape:?}", column.name, column.datatype)
        });
        message.collect::<Vec<_>>().join(", ")
    };
    let gives = labels.map_or_else(
        || side(outputs),
        |labels| format!("the {} best of {} classes, and their scores", labels.top, labels.names.len()),
    );
    Ok(vec![
        format!("{}: a bundle without golden examples; it takes {form}", folder.display()),
        format!("takes {}", side(&model.signature().inputs)),
        format!("gives {gives}"),
    ])
}
