//! Models of untrusted files: graphs as converters write them, changed at random in ways that keep them readable, have
//! to load or be refused, and to compute or fail, without a panic in our own operators. Seeded, so that a failure stays.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::Path;
use std::sync::{Arc, Mutex};

use modelgate_columns::{Column, Datatype, Writer};
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto};

use crate::{Model, ModelLimits};

/// Changed graphs made of each one.
const ROUNDS: usize = 60;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn change_list<T: Clone>(&mut self, list: &mut Vec<T>, fresh: T) {
        let index = self.below(list.len());
        match self.below(5) {
            0 => drop(list.pop()),
            1 => list.push(fresh),
            2 => list.truncate(index),
            3 => list.extend(list.clone()),
            _ if list.is_empty() => {}
            _ => list[index] = fresh,
        }
    }

    fn int(&mut self) -> i64 {
        self.pick(&[-1, 0, 1, 2, 3, 5, 63, 64, 255, 1 << 16, 1 << 22, 1 << 31, 1 << 40, i64::MAX, i64::MIN])
    }

    fn float(&mut self) -> f32 {
        self.pick(&[0.0, -0.0, 1.0, -1.0, 1e-30, 3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN])
    }

    fn text(&mut self) -> Vec<u8> {
        self.pick(&[&b""[..], b"NONE", b"PROBIT", b"LEAF", b"BRANCH_EQ", b"(", b"\xff", b"a", "Öl".as_bytes(), b"[[:x"])
            .to_vec()
    }

    fn change_attribute(&mut self, attribute: &mut AttributeProto) {
        if let Some(tensor) = &mut attribute.t {
            return self.change_tensor(tensor);
        }
        match (attribute.ints.len(), attribute.floats.len(), attribute.strings.len()) {
            (1.., _, _) => {
                let fresh = self.int();
                self.change_list(&mut attribute.ints, fresh);
            }
            (_, 1.., _) => {
                let fresh = self.float();
                self.change_list(&mut attribute.floats, fresh);
            }
            (_, _, 1..) => {
                let fresh = self.text();
                self.change_list(&mut attribute.strings, fresh);
            }
            _ if attribute.s.is_empty() => (attribute.i, attribute.f) = (self.int(), self.float()),
            _ => attribute.s = self.text(),
        }
    }

    fn change_tensor(&mut self, tensor: &mut TensorProto) {
        match self.below(4) {
            0 => {
                let fresh = self.int();
                self.change_list(&mut tensor.dims, fresh);
            }
            1 => tensor.data_type = self.int() as i32 & 31,
            2 => {
                let fresh = self.float();
                self.change_list(&mut tensor.float_data, fresh);
            }
            _ => {
                let fresh = self.below(256) as u8;
                self.change_list(&mut tensor.raw_data, fresh);
            }
        }
    }

    fn change_node(&mut self, node: &mut NodeProto, names: &[String]) {
        match self.below(8) {
            0 => {
                let fresh = node.input.first().cloned().unwrap_or_default();
                self.change_list(&mut node.input, fresh);
            }
            1 => self.change_list(&mut node.output, "fresh".into()),
            2 if !node.attribute.is_empty() => drop(node.attribute.remove(self.below(node.attribute.len()))),
            3 => node.op_type.clone_from(&names[self.below(names.len())]),
            _ if node.attribute.is_empty() => {}
            _ => {
                let index = self.below(node.attribute.len());
                self.change_attribute(&mut node.attribute[index]);
            }
        }
    }

    fn change(&mut self, model: &mut ModelProto, names: &[String]) {
        let Some(graph) = &mut model.graph else { return };
        if !graph.initializer.is_empty() && self.below(6) == 0 {
            let index = self.below(graph.initializer.len());
            return self.change_tensor(&mut graph.initializer[index]);
        }
        let index = self.below(graph.node.len());
        if let Some(node) = graph.node.get_mut(index) {
            self.change_node(node, names);
        }
    }
}

fn values(column: &Column, rows: usize, random: &mut Random) -> Option<Vec<u64>> {
    let count = column.row_size().filter(|&size| size < 1000)? * rows;
    let mut writer = Writer::default();
    match column.datatype {
        Datatype::F32 => writer.fixed(&(0..count).map(|_| random.float()).collect::<Vec<_>>()),
        Datatype::F64 => writer.fixed(&(0..count).map(|_| f64::from(random.float())).collect::<Vec<_>>()),
        Datatype::I64 => writer.fixed(&(0..count).map(|_| random.int()).collect::<Vec<_>>()),
        Datatype::I32 => writer.fixed(&(0..count).map(|_| random.int() as i32).collect::<Vec<_>>()),
        Datatype::Bytes => {
            let texts: Vec<_> = (0..count).map(|_| random.pick(&["", "a", "NaN", "-7", "Öl und  Öl", "b-c"])).collect();
            writer.strings(texts.iter().map(|text| text.as_bytes())).ok()?;
        }
        _ => return None,
    }
    Some(writer.finish())
}

fn try_model(bytes: &[u8], random: &mut Random) {
    let Ok(model) = Model::load(bytes, &ModelLimits::default()).map(Arc::new) else { return };
    let mut session = model.session();
    for rows in [1, 3] {
        let columns = model.signature().inputs.iter().map(|column| values(column, rows, random));
        let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return };
        let _ = session.compute(rows as u32, &columns.concat(), None);
    }
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn changed_graphs_never_panic_in_our_operators() {
    static PANICS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !WATCHED.get() {
            return others(info);
        }
        // tract's own asserts are caught by `Model::load`.
        if let Some(location) = info.location().filter(|location| location.file().contains("crates/onnx/src")) {
            PANICS.lock().unwrap().insert(format!("{location}: {info}"));
        }
    }));
    WATCHED.set(true);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/conformance");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    let graphs: Vec<_> = paths.iter().map(|path| ModelProto::decode(&*fs::read(path).unwrap()).unwrap()).collect();
    let nodes = graphs.iter().filter_map(|model| model.graph.as_ref()).flat_map(|graph| &graph.node);
    let names: Vec<String> = nodes.map(|node| node.op_type.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut random = Random(17);
    // Large graphs tell no more of one operator than small ones.
    for graph in graphs.iter().filter(|graph| graph.encoded_len() < 6000) {
        for _ in 0..ROUNDS {
            let mut changed = graph.clone();
            for _ in 0..=random.below(2) {
                random.change(&mut changed, &names);
            }
            try_model(&changed.encode_to_vec(), &mut random);
        }
    }
    WATCHED.set(false);
    let panics = PANICS.lock().unwrap();
    assert!(panics.is_empty(), "{panics:#?}");
}
