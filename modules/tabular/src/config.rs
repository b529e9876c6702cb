//! The configuration as it stands in the file.
//!
//! A step is one struct with every field of every operation, not an enum: `step` then says which field is missing or
//! does not belong, and where, and the parser stays small.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: Output,
    pub(crate) blocks: Vec<Block>,
    #[serde(default)]
    pub(crate) texts: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) datatype: String,
    #[serde(default)]
    pub(crate) nullable: bool,
    pub(crate) categories: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) datatype: String,
}

/// A column of text that is handed on as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) column: String,
    /// The text that stands for a missing one.
    pub(crate) missing: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Block {
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) op: String,
    pub(crate) to: Option<String>,
    pub(crate) values: Option<Vec<Scalar>>,
    pub(crate) indicator: Option<Vec<usize>>,
    pub(crate) mean: Option<Vec<f64>>,
    pub(crate) center: Option<Vec<f64>>,
    pub(crate) scale: Option<Vec<f64>>,
    pub(crate) min: Option<Vec<f64>>,
    pub(crate) clip: Option<[f64; 2]>,
    pub(crate) categories: Option<Vec<Vec<Scalar>>>,
    pub(crate) unknown: Option<String>,
    pub(crate) drop: Option<Vec<Option<usize>>>,
    pub(crate) infrequent: Option<Vec<Vec<usize>>>,
    #[serde(default, deserialize_with = "number_or_null")]
    pub(crate) unknown_value: Option<f64>,
    #[serde(default, deserialize_with = "number_or_null")]
    pub(crate) missing_value: Option<f64>,
}

impl Step {
    /// The first field that is given. Once an operation took its own, it is one that does not belong.
    pub(crate) fn leftover(&self) -> Option<&'static str> {
        let Self { op: _, to, values, indicator, mean, center, scale, min, clip, categories, unknown, drop, .. } = self;
        let given = [
            ("to", to.is_some()),
            ("values", values.is_some()),
            ("indicator", indicator.is_some()),
            ("mean", mean.is_some()),
            ("center", center.is_some()),
            ("scale", scale.is_some()),
            ("min", min.is_some()),
            ("clip", clip.is_some()),
            ("categories", categories.is_some()),
            ("unknown", unknown.is_some()),
            ("drop", drop.is_some()),
            ("infrequent", self.infrequent.is_some()),
            ("unknown_value", self.unknown_value.is_some()),
            ("missing_value", self.missing_value.is_some()),
        ];
        given.into_iter().find_map(|(name, given)| given.then_some(name))
    }
}

/// A null that is given stands for NaN; only an absent field is none.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::deserialize(deserializer).map(|number| Some(number.unwrap_or(f64::NAN)))
}

/// A category, or what is put in place of a missing value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// The missing category.
    Null,
    /// A boolean is the number 0 or 1.
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        /// Numbers are compared as f64, in which larger integers run into each other.
        fn exact<E: de::Error>(value: u64) -> Result<(), E> {
            if value < 1 << 53 { Ok(()) } else { Err(E::custom("expected an integer below 2^53 in magnitude")) }
        }

        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, a boolean or null")
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Number(f64::from(u8::from(value))))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                // -0 and 0 are one category.
                Ok(Scalar::Number(value + 0.0))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                exact(value.unsigned_abs())?;
                Ok(Scalar::Number(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                exact(value)?;
                Ok(Scalar::Number(value as f64))
            }

            fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
