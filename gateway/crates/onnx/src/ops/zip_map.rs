//! `ZipMap` of `ai.onnx.ml`, which makes a list of maps from label to score out of a matrix of scores. Here the matrix
//! stays one: the labels are the same in each row, and a client gets them as the columns' order.

use tract_onnx::tract_hir::ops::identity::Identity;

use super::kernel::{ML, Operator};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "ZipMap",
    attributes: &["classlabels_int64s", "classlabels_strings"],
    build: |_, _| Ok((Box::<Identity>::default(), vec![])),
};
