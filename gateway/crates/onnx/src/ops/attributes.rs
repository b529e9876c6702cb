//! Reading the attributes of a node.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

/// The attributes of one node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    fn find(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// A list of whole numbers, empty if absent.
    pub(super) fn ints(self, name: &str) -> &'a [i64] {
        self.find(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// A list of numbers, empty if absent.
    pub(super) fn floats(self, name: &str) -> &'a [f32] {
        self.find(name).map_or(&[], |attribute| &attribute.floats)
    }

    /// A list of that kind that is still packed (see [`super::super::lazy_trees`]), if it is.
    pub(super) fn packed(self, name: &str, kind: AttributeType) -> Option<&'a [u8]> {
        let attribute = self.find(name).filter(|attribute| attribute.r#type == kind as i32 && !attribute.s.is_empty());
        attribute.map(|attribute| attribute.s.as_slice())
    }

    /// A list of byte strings, empty if absent.
    pub(super) fn bytes(self, name: &str) -> &'a [Vec<u8>] {
        self.find(name).map_or(&[], |attribute| &attribute.strings)
    }

    /// A list of texts, empty if absent.
    pub(super) fn strings(self, name: &str) -> TractResult<Vec<String>> {
        let strings = self.bytes(name).iter().map(|bytes| String::from_utf8(bytes.clone()));
        strings.collect::<Result<_, _>>().with_context(|| format!("attribute '{name}' is not UTF-8"))
    }

    /// A whole number.
    pub(super) fn int(self, name: &str) -> Option<i64> {
        self.find(name).map(|attribute| attribute.i)
    }

    /// A number.
    pub(super) fn float(self, name: &str) -> Option<f32> {
        self.find(name).map(|attribute| attribute.f)
    }

    /// A text.
    pub(super) fn text(self, name: &str) -> TractResult<Option<&'a str>> {
        let text = self.find(name).map(|attribute| str::from_utf8(&attribute.s));
        text.transpose().with_context(|| format!("attribute '{name}' is not UTF-8"))
    }

    /// A tensor.
    pub(super) fn tensor(self, ctx: &ParsingContext<'_>, name: &str) -> TractResult<Option<Tensor>> {
        let tensor = self.find(name).and_then(|attribute| attribute.t.as_ref());
        tensor.map(|tensor| ctx.load_tensor(tensor).with_context(|| format!("attribute '{name}'"))).transpose()
    }

    /// A list of tensors, empty if absent.
    pub(super) fn tensors(self, ctx: &ParsingContext<'_>, name: &str) -> TractResult<Vec<Tensor>> {
        let tensors = self.find(name).map_or(&[][..], |attribute| &attribute.tensors);
        tensors.iter().map(|tensor| ctx.load_tensor(tensor).with_context(|| format!("attribute '{name}'"))).collect()
    }

    /// A tensor's values as doubles.
    pub(super) fn doubles(self, ctx: &ParsingContext<'_>, name: &str) -> TractResult<Option<Vec<f64>>> {
        let tensor = self.tensor(ctx, name)?;
        tensor.map(|tensor| Ok(tensor.cast_to::<f64>()?.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())).transpose()
    }
}
