//! One step of a block: its fields checked, and its operation appended to each column's draft.

use tabular_kernel::{Numbers, Op, Otherwise, Source, Texts};

use crate::{
    config::{Scalar, Step},
    one_hot::{NOWHERE, OneHot},
};

/// A lane in the making.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) input: usize,
    pub(crate) held: Held,
    pub(crate) source: Source,
    pub(crate) ops: Vec<Op>,
    /// Of the step `one_hot` or `ordinal`, for error messages.
    pub(crate) categories: Vec<Scalar>,
}

/// The content of the lane behind the steps so far.
#[derive(Clone)]
pub(crate) enum Held {
    Number,
    Text {
        /// The value that an imputer puts where one is missing.
        fill: Option<String>,
    },
    /// One-hot columns, that many; nothing may follow.
    OneHot(usize),
}

const BEHIND_ONE_HOT: &str = "is one-hot by now: no step may follow";

impl Draft {
    pub(crate) fn new(name: String, input: usize, text: bool) -> Self {
        let held = if text { Held::Text { fill: None } } else { Held::Number };
        Self { name, input, held, source: Source::Number, ops: Vec::new(), categories: Vec::new() }
    }

    fn number(&mut self, op: Op) -> Result<(), String> {
        match self.held {
            Held::Number => {
                self.ops.push(op);
                Ok(())
            }
            Held::Text { .. } => Err(self.says("is text: expected numbers")),
            Held::OneHot(_) => Err(self.says(BEHIND_ONE_HOT)),
        }
    }

    /// From here on 1 where the value is missing, else 0.
    fn missing(&mut self) -> Result<(), String> {
        if let Held::Text { fill } = &self.held {
            // Behind an imputer nothing is missing; a 0 is not either.
            let filled = fill.is_some();
            self.source = Source::TextMissing;
            self.held = Held::Number;
            return if filled { self.number(Op::Missing) } else { Ok(()) };
        }
        self.number(Op::Missing)
    }

    fn says(&self, message: impl std::fmt::Display) -> String {
        format!("column '{}' {message}", self.name)
    }
}

type Drafts<'d> = &'d mut [Draft];

impl Step {
    /// Appends the operation to each draft, and an imputer's indicators to `indicators`. Takes the fields it needs.
    pub(crate) fn apply(&mut self, drafts: Drafts<'_>, indicators: &mut Vec<Draft>) -> Result<(), String> {
        match self.op.as_str() {
            "cast" => self.cast(drafts),
            "impute" => self.impute(drafts, indicators),
            "missing" => drafts.iter_mut().try_for_each(Draft::missing),
            "standard" => {
                let mean = self.mean.take();
                self.center_and_scale(mean, "mean", drafts)
            }
            "robust" => {
                let center = self.center.take();
                self.center_and_scale(center, "center", drafts)
            }
            "min_max" => self.min_max(drafts),
            "max_abs" => {
                let scale = for_each(self.scale.take(), "scale", drafts)?;
                divisors(&scale, drafts)?;
                append(drafts, scale.into_iter().map(Op::Divide))
            }
            "one_hot" => self.one_hot(drafts),
            "ordinal" => self.ordinal(drafts),
            _ => Err(
                "no such operation: expected cast, impute, missing, standard, min_max, max_abs, robust, one_hot or \
                      ordinal"
                    .to_owned(),
            ),
        }
    }

    fn cast(&mut self, drafts: Drafts<'_>) -> Result<(), String> {
        let op = match self.to.take().as_deref() {
            Some("i64") => Op::Truncate,
            Some("f32") => Op::Single,
            other => {
                return Err(format!("`to`: expected \"i64\" or \"f32\", got {}", or_nothing(other)));
            }
        };
        drafts.iter_mut().try_for_each(|draft| draft.number(op.clone()))
    }

    fn impute(&mut self, drafts: Drafts<'_>, indicators: &mut Vec<Draft>) -> Result<(), String> {
        let values = for_each(self.values.take(), "values", drafts)?;
        for place in self.indicator.take().unwrap_or_default() {
            let draft = drafts.get(place).ok_or_else(|| format!("`indicator`: there is no column {place}"))?;
            let mut indicator = draft.clone();
            indicator.categories.clear();
            indicator.missing()?;
            indicators.push(indicator);
        }
        for (draft, value) in drafts.iter_mut().zip(values) {
            match (&mut draft.held, value) {
                (Held::Text { fill }, Scalar::Text(text)) => _ = fill.get_or_insert(text),
                (Held::Number, Scalar::Number(number)) => draft.number(Op::Fill(number))?,
                (Held::OneHot(_), _) => return Err(draft.says(BEHIND_ONE_HOT)),
                (Held::Text { .. }, value) => {
                    return Err(draft.says(format!("is text: expected a string, got {value}")));
                }
                (Held::Number, value) => {
                    return Err(draft.says(format!("holds numbers: expected a number or a boolean, got {value}")));
                }
            }
        }
        Ok(())
    }

    fn center_and_scale(&mut self, center: Option<Vec<f64>>, name: &str, drafts: Drafts<'_>) -> Result<(), String> {
        let scale = self.scale.take();
        let center = center.map(|center| for_each(Some(center), name, drafts)).transpose()?;
        let scale = scale.map(|scale| for_each(Some(scale), "scale", drafts)).transpose()?;
        divisors(scale.as_deref().unwrap_or_default(), drafts)?;
        match (center, scale) {
            (Some(center), Some(scale)) => {
                append(drafts, center.into_iter().zip(scale).map(|(center, scale)| Op::Standard { center, scale }))
            }
            (Some(center), None) => append(drafts, center.into_iter().map(Op::Subtract)),
            (None, Some(scale)) => append(drafts, scale.into_iter().map(Op::Divide)),
            (None, None) => Ok(()),
        }
    }

    fn min_max(&mut self, drafts: Drafts<'_>) -> Result<(), String> {
        let scale = for_each(self.scale.take(), "scale", drafts)?;
        let min = for_each(self.min.take(), "min", drafts)?;
        append(drafts, scale.into_iter().zip(min).map(|(scale, min)| Op::MinMax { scale, min }))?;
        match self.clip.take() {
            Some([low, high]) if low <= high => {
                drafts.iter_mut().try_for_each(|draft| draft.number(Op::Clamp(low, high)))
            }
            Some([low, high]) => Err(format!("`clip`: expected [low, high], got [{low}, {high}]")),
            None => Ok(()),
        }
    }

    fn one_hot(&mut self, drafts: Drafts<'_>) -> Result<(), String> {
        let categories = for_each(self.categories.take(), "categories", drafts)?;
        let unknown = self.unknown.take();
        let drop = self.drop.take().map(|drop| for_each(Some(drop), "drop", drafts)).transpose()?;
        let infrequent =
            self.infrequent.take().map(|places| for_each(Some(places), "infrequent", drafts)).transpose()?;
        for (place, (draft, categories)) in drafts.iter_mut().zip(categories).enumerate() {
            let drop = drop.as_ref().and_then(|drop| drop[place]);
            let infrequent = infrequent.as_ref().map(|infrequent| infrequent[place].as_slice()).unwrap_or_default();
            let columns = OneHot::new(categories.len(), drop, infrequent).map_err(|message| draft.says(message))?;
            let unknown = match unknown.as_deref() {
                Some("error") => None,
                Some("ignore") => Some(NOWHERE),
                Some("infrequent") => Some(columns.infrequent),
                other => {
                    let got = or_nothing(other);
                    return Err(format!("`unknown`: expected \"ignore\", \"error\" or \"infrequent\", got {got}"));
                }
            };
            draft.find(categories, &columns.becomes, unknown)?;
            draft.held = Held::OneHot(columns.size);
        }
        Ok(())
    }

    fn ordinal(&mut self, drafts: Drafts<'_>) -> Result<(), String> {
        let categories = for_each(self.categories.take(), "categories", drafts)?;
        let unknown = match (self.unknown.take().as_deref(), self.unknown_value.take()) {
            (Some("error"), None) => None,
            (Some("value"), Some(value)) => Some(value),
            (Some("value"), None) => return Err("`unknown_value` is missing".to_owned()),
            (Some("error"), Some(_)) => {
                return Err("`unknown_value` does not go with `unknown`: \"error\"".to_owned());
            }
            (other, _) => {
                return Err(format!("`unknown`: expected \"error\" or \"value\", got {}", or_nothing(other)));
            }
        };
        let missing = self.missing_value.take();
        for (draft, categories) in drafts.iter_mut().zip(categories) {
            let becomes = categories.iter().enumerate().map(|(place, category)| match (category, missing) {
                (Scalar::Null, Some(value)) => value,
                _ => place as f64,
            });
            let becomes: Vec<f64> = becomes.collect();
            draft.find(categories, &becomes, unknown)?;
        }
        Ok(())
    }
}

impl Draft {
    /// Each category becomes its number; `unknown` is what others become, `None` if they are refused.
    fn find(&mut self, categories: Vec<Scalar>, becomes: &[f64], unknown: Option<f64>) -> Result<(), String> {
        let (mut texts, mut numbers, mut missing) = (Vec::new(), Vec::new(), None);
        for (category, becomes) in categories.iter().zip(becomes) {
            match (category, &self.held) {
                (Scalar::Null, _) if missing.is_none() => missing = Some(*becomes),
                (Scalar::Null, _) => return Err(self.says("has the category null twice")),
                (Scalar::Text(text), Held::Text { .. }) => texts.push((text.clone(), *becomes)),
                (Scalar::Number(number), Held::Number) => numbers.push((*number, *becomes)),
                (_, Held::Text { .. }) => {
                    return Err(self.says(format!("is text: expected strings as categories, got {category}")));
                }
                _ => {
                    return Err(self.says(format!("holds numbers: expected numbers as categories, got {category}")));
                }
            }
        }
        // Without a null category a missing value is unknown.
        let otherwise = Otherwise { unknown, missing: missing.or(unknown) };
        match &self.held {
            Held::Text { fill } => {
                let mut table = Texts::new(texts, otherwise).map_err(|twice| self.says(twice))?;
                if let Some(fill) = fill {
                    table.fill(fill);
                }
                self.source = Source::Text(table);
                self.held = Held::Number;
            }
            Held::Number | Held::OneHot(_) => {
                let table = Numbers::new(numbers, otherwise).map_err(|twice| self.says(twice))?;
                self.number(Op::Find(table))?;
            }
        }
        self.categories = categories;
        Ok(())
    }
}

/// The list, if it has an entry for each column.
fn for_each<T>(list: Option<Vec<T>>, name: &str, drafts: &[Draft]) -> Result<Vec<T>, String> {
    match list {
        Some(list) if list.len() == drafts.len() => Ok(list),
        Some(list) => {
            Err(format!("`{name}` has {} entries: expected {}, one for each column", list.len(), drafts.len()))
        }
        None => Err(format!("`{name}` is missing: expected a list of {}, one for each column", drafts.len())),
    }
}

fn divisors(scale: &[f64], drafts: &[Draft]) -> Result<(), String> {
    match scale.iter().zip(drafts).find(|(scale, _)| **scale == 0.0) {
        Some((_, draft)) => Err(draft.says("has a `scale` of 0")),
        None => Ok(()),
    }
}

fn append(drafts: Drafts<'_>, ops: impl Iterator<Item = Op>) -> Result<(), String> {
    drafts.iter_mut().zip(ops).try_for_each(|(draft, op)| draft.number(op))
}

fn or_nothing(got: Option<&str>) -> String {
    got.map_or_else(|| "nothing".to_owned(), |got| format!("{got:?}"))
}
