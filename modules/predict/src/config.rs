//! The configuration as it stands in the file.

use modelgate_module::Column;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) outputs: Option<Vec<Output>>,
    /// In their place, what a network found in pictures.
    pub(crate) detections: Option<Detections>,
}

/// The output of a network that looks for things in pictures: boxes, and for each a score of every class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detections {
    pub(crate) from: String,
    #[serde(default)]
    pub(crate) layout: Layout,
    #[serde(default, rename = "boxes")]
    pub(crate) form: BoxForm,
    /// Whether the fifth value of a box tells whether there is anything at all.
    #[serde(default)]
    pub(crate) objectness: bool,
    /// Whether scores are logits.
    #[serde(default)]
    pub(crate) sigmoid: bool,
    /// The score that a detection has to be above.
    #[serde(default = "score")]
    pub(crate) score: f32,
    /// Of two boxes that overlap by more than this the surer one is kept.
    #[serde(default = "overlap")]
    pub(crate) overlap: f32,
    /// Whether that is so of two classes, too.
    #[serde(default)]
    pub(crate) any_class: bool,
    /// Detections of a picture.
    #[serde(default = "most")]
    pub(crate) most: usize,
    pub(crate) classes: Option<Vec<String>>,
    /// Width and height of the network's picture: boxes are parts of it then.
    pub(crate) relative_to: Option<[f32; 2]>,
}

fn score() -> f32 {
    0.25
}

fn overlap() -> f32 {
    0.45
}

fn most() -> usize {
    100
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layout {
    /// `[rows, values of a box, boxes]`.
    #[default]
    FeaturesFirst,
    /// `[rows, boxes, values of a box]`.
    BoxesFirst,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BoxForm {
    /// Center, width and height.
    #[default]
    Center,
    /// Left, top, right and bottom.
    Corners,
}

/// The changes to one output of the model, in the order of the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) apply: Option<Apply>,
    /// The place of the one value that is kept of each row.
    pub(crate) at: Option<usize>,
    pub(crate) pick: Option<Pick>,
    /// The number of values that are picked of each row.
    pub(crate) top: Option<usize>,
    /// The least value that counts: 1 in its place, and 0 in that of a smaller one.
    pub(crate) threshold: Option<f64>,
    pub(crate) classes: Option<Classes>,
    /// The class that each of a row's values belongs to: told to callers, the values stay as they are.
    pub(crate) names: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) squeeze: bool,
}

impl Output {
    /// The model's output under its own name.
    pub(crate) fn as_is(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            from: column.name.clone(),
            apply: None,
            at: None,
            pick: None,
            top: None,
            threshold: None,
            classes: None,
            names: None,
            squeeze: false,
        }
    }
}

/// A function of a row's scores.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Apply {
    Sigmoid,
    Softmax,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pick {
    /// The place of the largest value.
    Argmax,
    /// The largest value.
    Max,
}

/// The value that stands for each class.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "`classes`: expected a list of strings, of integers or of booleans")]
pub(crate) enum Classes {
    Numbers(Vec<i64>),
    Names(Vec<String>),
    Bools(Vec<bool>),
}

impl Classes {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(classes) => classes.len(),
            Self::Names(classes) => classes.len(),
            Self::Bools(classes) => classes.len(),
        }
    }
}
