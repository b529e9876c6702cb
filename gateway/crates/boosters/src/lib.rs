//! Models of XGBoost (`.json`, `.ubj`), LightGBM (`.txt`) and CatBoost (`.cbm`, `.json`), read from the libraries' own files.
//!
//! [`Booster::raw`] gives the raw scores of rows, bit by bit as the library itself does: in its types, in its order, by its
//! rules for missing values, zeros and categories. [`Booster::outputs`] makes of them what its `predict` gives, at most
//! 2 ulp away, for exponents are the system's. Parts of a model that are not computed so are refused by name.
//!
//! Files are not trusted: sizes are checked before anything is allocated, trees are checked to be trees, and a bad file is
//! an error.

mod booster;
mod catboost;
mod classes;
mod document;
mod encoding;
mod error;
mod forest;
mod layout;
mod leaves;
mod lightgbm;
mod objective;
mod traverse;
mod trees;
mod xgboost;

pub use booster::{Booster, Kind, Library, Numbers, Rows};
pub use classes::ClassKind;
pub use error::BoosterError;
pub use objective::{Objective, Scores, Task};
