//! The label of the greatest score, which converters write as `ArgMax`, `ArrayFeatureExtractor`, `Reshape` and `Cast`.

use tract_onnx::pb::NodeProto;

use super::{INT, LONG, LONG_CODE, TEXT, Work, int_list, ints, text_list};

impl Work {
    /// The label of the greatest score, from the `ArgMax` on.
    pub(super) fn fuse_label(&mut self, at: usize) -> Option<()> {
        let node = self.node(at, "ArgMax")?;
        let attribute = |node: &NodeProto, name: &str, default| {
            node.attribute.iter().find(|attribute| attribute.name == name).map_or(default, |attribute| attribute.i)
        };
        let ([scores], [indices]) = (&node.input[..], &node.output[..]) else { return None };
        if attribute(node, "axis", 0) != 1 || attribute(node, "select_last_index", 0) != 0 {
            return None;
        }
        let scores = scores.clone();
        let readers = self.readers.get(indices).filter(|readers| readers.count == 1)?;
        let pick_at = readers.last?;
        let pick = self.nodes.get(pick_at)?.as_ref()?;
        let ([classes, picks], [picked]) = (&pick.input[..], &pick.output[..]) else { return None };
        if pick.op_type != "ArrayFeatureExtractor" || picks != indices {
            return None;
        }
        let (reshape_at, reshape) = self.next(picked, "Reshape")?;
        let ([_, shape], [flat]) = (&reshape.input[..], &reshape.output[..]) else { return None };
        let is_flat = self.tensor(shape).and_then(ints).is_some_and(|shape| shape == [-1]);
        if !is_flat || attribute(reshape, "allowzero", 0) != 0 {
            return None;
        }
        let classes = self.tensor(classes).filter(|classes| matches!(classes.dims[..], [_] | [1, _]))?;
        let mut parts = vec![at, pick_at, reshape_at];
        let mut output = flat.clone();
        let cast = self.next(flat, "Cast").map(|(at, cast)| (at, attribute(cast, "to", 0), cast.output.first()));
        let labels = match (classes.data_type, cast) {
            (INT | LONG, Some((at, LONG_CODE, Some(cast)))) => {
                parts.push(at);
                output.clone_from(cast);
                int_list("ints", ints(classes)?)
            }
            (LONG, _) => int_list("ints", ints(classes)?),
            (TEXT, _) => text_list("strings", classes.string_data.clone()),
            _ => return None,
        };
        self.replace(&parts, "ModelgateLabel", (scores, output), vec![labels]);
        Some(())
    }
}
