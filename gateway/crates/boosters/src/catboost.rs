//! Models of CatBoost: `.cbm` and `.json`.
//!
//! A row's features become bytes first, as CatBoost's own evaluator makes them: for a number, how many of its borders it is
//! above; for a category of few values, which of them it is; for a statistic of categories (CTR), as for a number. Trees ask
//! bytes only.

mod about;
mod binary;
mod city;
mod ctr;
mod flat;
mod model;
mod symmetric;
mod text;

pub(crate) use self::about::About;
pub(crate) use self::binary::from_cbm;
pub(crate) use self::model::Model;
pub(crate) use self::text::from_json;
use crate::error::Reader;

pub(crate) const READER: Reader = Reader("CatBoost");

/// The first bytes of a `.cbm` file.
pub(crate) const MAGIC: &[u8] = b"CBM1";
