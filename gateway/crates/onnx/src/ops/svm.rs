//! Support vector machines: `SVMClassifier` and `SVMRegressor` of `ai.onnx.ml`.

mod classifier;
mod coupling;
mod kernel_function;
mod regressor;

pub(super) use self::classifier::OPERATOR as CLASSIFIER;
pub(super) use self::regressor::OPERATOR as REGRESSOR;
