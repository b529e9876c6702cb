//! The names of classes.

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::values::tensor;

/// The names of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types say it")]
pub enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    /// From the attribute of either name; an error if both are absent.
    pub(super) fn read(node: Attributes<'_>, strings: &str, ints: &str) -> TractResult<Self> {
        match (node.strings(strings)?, node.ints(ints)) {
            (none, []) if none.is_empty() => bail!("neither '{strings}' nor '{ints}' is given"),
            (none, ints) if none.is_empty() => Ok(Self::Ints(ints.to_vec())),
            (names, _) => Ok(Self::Strings(names)),
        }
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Strings(labels) => labels.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of a label.
    pub(super) fn datum(&self) -> DatumType {
        match self {
            Self::Ints(_) => i64::datum_type(),
            Self::Strings(_) => String::datum_type(),
        }
    }

    /// A tensor of the labels at these places; a place beyond the last class is an error.
    pub(super) fn pick(&self, indices: impl Iterator<Item = usize>) -> TractResult<TValue> {
        fn pick<T: Datum>(labels: &[T], indices: impl Iterator<Item = usize>) -> TractResult<TValue> {
            let picked = indices.map(|index| labels.get(index).cloned()).collect::<Option<Vec<_>>>();
            let picked = picked.context("a class has no label")?;
            tensor(&[picked.len()], picked)
        }
        match self {
            Self::Ints(labels) => pick(labels, indices),
            Self::Strings(labels) => pick(labels, indices),
        }
    }
}
