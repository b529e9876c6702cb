//! Graphs that are not tables, sizes that a file leaves open, and conditions: made here, node by node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use modelgate_columns::{Column, Datatype, Reader, Values, Writer};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto, tensor_shape_proto, type_proto,
};

use super::graph_parts::{int, longs, node};
use crate::sized::{Permit, Wait};
use crate::{ComputeError, Mode, Model, ModelError, ModelLimits};

pub(super) const SINGLE: i32 = 1;
const LONG: i32 = 7;
const BOOL: i32 = 9;

/// An input or output: numbers are sizes, names open ones.
pub(super) fn value(name: &str, elem_type: i32, dims: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |dim: &&str| {
        let value = dim.parse().map_or_else(|_| Value::DimParam((*dim).to_owned()), Value::DimValue);
        Dimension { value: Some(value), ..Dimension::default() }
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

pub(super) fn try_load(mode: Mode, graph: GraphProto) -> Result<Arc<Model>, ModelError> {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    let model = ModelProto { ir_version: 7, opset_import, graph: Some(graph), ..ModelProto::default() };
    Model::load_as(mode, model.encode_to_vec(), BTreeMap::new(), &ModelLimits::default()).map(Arc::new)
}

pub(super) fn load(graph: GraphProto) -> Arc<Model> {
    try_load(Mode::Auto, graph).unwrap()
}

pub(super) fn graph(inputs: Vec<ValueInfoProto>, node: Vec<NodeProto>, output: ValueInfoProto) -> GraphProto {
    GraphProto { node, input: inputs, output: vec![output], ..GraphProto::default() }
}

/// Singles or longs with their sizes, as an input takes them.
#[derive(Clone)]
pub(super) enum Given<'a> {
    Singles(&'a [usize], Vec<f32>),
    Longs(&'a [usize], Vec<i64>),
}

/// The first output of singles, with its shape; the inputs' first dimension is the rows unless the model takes tensors.
pub(super) fn compute(
    model: &Arc<Model>,
    inputs: &[Given<'_>],
    deadline: Option<Instant>,
) -> Result<(Vec<usize>, Vec<f32>), ComputeError> {
    let lead = usize::from(!model.is_tensors());
    let (mut writer, mut rows) = (Writer::default(), 1);
    for (column, given) in model.signature().inputs.iter().zip(inputs) {
        let (Given::Singles(shape, _) | Given::Longs(shape, _)) = given;
        if lead == 1 {
            rows = shape[0] as u32;
        }
        let varying = column.inner_shape().iter().zip(&shape[lead..]).filter(|&(&dim, _)| dim < 0);
        writer.dims(&varying.map(|(_, &size)| size as u64).collect::<Vec<_>>());
        match given {
            Given::Singles(_, values) => writer.fixed(values),
            Given::Longs(_, values) => writer.fixed(values),
        }
    }
    let words = model.session().compute(rows, &writer.finish(), deadline)?;
    let mut reader = Reader::new(rows, &words);
    let column = &model.signature().outputs[0];
    let view = reader.next(column).unwrap();
    let Values::F32(values) = view.values else { panic!("{column} is no singles") };
    Ok((view.shape(column)[1 - lead..].to_vec(), values.to_vec()))
}

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::Graph as i32;
    AttributeProto { name: name.into(), r#type, g: Some(graph), ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, list: &[i64]) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::Ints as i32;
    AttributeProto { name: name.into(), r#type, ints: list.into(), ..AttributeProto::default() }
}

#[test]
fn dividing_by_an_input_is_no_corrupt_file() {
    let mut graph = graph(
        vec![value("x", LONG, &["batch"])],
        vec![node("Div", &["c", "x"], "q", vec![]), node("Cast", &["q"], "y", vec![int("to", SINGLE.into())])],
        value("y", SINGLE, &["batch"]),
    );
    graph.initializer = vec![longs("c", &[10])];
    let model = load(graph);
    let divide = |by: &[i64]| compute(&model, &[Given::Longs(&[by.len()], by.to_vec())], None);
    assert_eq!(divide(&[2, 5, -3]).unwrap().1, [5.0, 2.0, -3.0]);
    assert!(matches!(divide(&[2, 0]), Err(ComputeError::Invalid { .. })));
    assert_eq!(divide(&[10]).unwrap().1, [1.0], "what fails leaves nothing behind");
}

#[test]
fn an_input_may_be_an_output_too() {
    let mut graph = graph(
        vec![value("x", SINGLE, &["batch", "2"])],
        vec![node("Relu", &["x"], "y", vec![])],
        value("y", SINGLE, &["batch", "2"]),
    );
    graph.output.insert(0, value("x", SINGLE, &["batch", "2"]));
    let model = load(graph);
    let expected = (vec![2, 2], vec![-1.0, 2.0, 3.0, -4.0]);
    assert_eq!(compute(&model, &[Given::Singles(&[2, 2], expected.1.clone())], None).unwrap(), expected);
}

#[test]
fn a_single_value_for_one_row_is_what_the_file_says() {
    // As exporters leave a score: squeezed to nothing where the batch is one, and declared so.
    let scores = |output| {
        graph(
            vec![value("x", SINGLE, &["batch", "2"])],
            vec![
                node("ReduceSum", &["x", "one"], "sum", vec![int("keepdims", 1)]),
                node("Squeeze", &["sum"], "y", vec![]),
            ],
            output,
        )
    };
    let with_axes = |mut graph: GraphProto| {
        graph.initializer = vec![longs("one", &[1])];
        load(graph)
    };
    let model = with_axes(scores(value("y", SINGLE, &[])));
    assert!(model.is_tensors());
    assert_eq!(model.signature().outputs, [Column::new("y", Datatype::F32, [-1])]);
    assert_eq!(compute(&model, &[Given::Singles(&[1, 2], vec![3.0, 4.0])], None).unwrap(), (vec![], vec![7.0]));
    let two = compute(&model, &[Given::Singles(&[2, 2], vec![1.0; 4])], None);
    assert!(matches!(two, Err(ComputeError::Invalid { .. })), "{two:?}");
    // A column of scores is one for one row too.
    let model = with_axes(scores(value("y", SINGLE, &["batch"])));
    for rows in [1usize, 3] {
        let sums = compute(&model, &[Given::Singles(&[rows, 2], vec![2.0; rows * 2])], None).unwrap();
        assert_eq!(sums, (vec![rows], vec![4.0; rows]));
    }
}

#[test]
fn a_window_may_be_larger_than_the_image_by_less_than_a_stride() {
    // As in nets that read text, on pictures that are not high enough.
    let average = |kernel: i64, stride: i64| {
        let attributes = vec![ints("kernel_shape", &[kernel]), ints("strides", &[stride])];
        graph(
            vec![value("x", SINGLE, &["batch", "1", "2"])],
            vec![node("AveragePool", &["x"], "y", attributes)],
            value("y", SINGLE, &["batch", "1", "n"]),
        )
    };
    let inputs = [Given::Singles(&[1, 1, 2], vec![1.0, 4.0])];
    for (kernel, stride, expected) in [(3, 2, vec![2.5]), (4, 3, vec![2.5]), (3, 1, vec![]), (4, 2, vec![])] {
        let (shape, values) = compute(&load(average(kernel, stride)), &inputs, None).unwrap();
        assert_eq!((shape, values), (vec![1, 1, expected.len()], expected), "{kernel} by {stride}");
    }
    assert!(try_load(Mode::Auto, average(4, 1)).is_err());
}

#[test]
fn a_constant_may_be_an_output() {
    let mut graph = graph(
        vec![value("x", SINGLE, &["batch", "2"])],
        vec![node("Relu", &["x"], "y", vec![])],
        value("y", SINGLE, &["batch", "2"]),
    );
    graph.output.insert(0, value("c", SINGLE, &["3"]));
    graph.initializer = vec![super::graph_parts::singles("c", &[3], &[7.0, 8.0, 9.0])];
    let model = load(graph);
    assert!(model.is_tensors(), "what all rows share has no rows");
    let inputs = [Given::Singles(&[2, 2], vec![-1.0, 2.0, 3.0, -4.0])];
    assert_eq!(compute(&model, &inputs, None).unwrap(), (vec![3], vec![7.0, 8.0, 9.0]));
}

#[test]
fn what_a_pad_is_filled_with_is_no_shape() {
    let mut graph = graph(
        vec![value("x", LONG, &["batch", "1"])],
        vec![
            node("Pad", &["x", "pads", "fill"], "p", vec![]),
            node("Cast", &["p"], "y", vec![int("to", SINGLE.into())]),
        ],
        value("y", SINGLE, &["batch", "m"]),
    );
    let mut fill = longs("fill", &[i64::MIN + 2]);
    fill.dims.clear();
    // Pads add up, they are not multiplied.
    graph.initializer = vec![longs("pads", &[0, 60_000, 0, 60_000]), fill];
    let (shape, values) = compute(&load(graph), &[Given::Longs(&[1, 1], vec![5])], None).unwrap();
    assert_eq!((shape, values[60_000], values[120_000]), (vec![1, 120_001], 5.0, -9_223_372_036_854_775_808.0));
}

#[test]
fn what_has_no_rows_is_served_as_the_file_has_it() {
    // A state whose first dimension is its layers, and a scalar.
    let model = load(graph(
        vec![
            value("x", SINGLE, &["batch", "3"]),
            value("state", SINGLE, &["2", "batch", "3"]),
            value("scale", SINGLE, &[]),
        ],
        vec![node("Add", &["x", "state"], "sum", vec![]), node("Mul", &["sum", "scale"], "y", vec![])],
        value("y", SINGLE, &["2", "batch", "3"]),
    ));
    assert!(model.is_tensors());
    let shapes: Vec<_> = model.signature().inputs.iter().map(|column| column.shape.clone()).collect();
    assert_eq!(shapes, [vec![-1, -1, 3], vec![-1, 2, -1, 3], vec![-1]]);
    assert_eq!(model.signature().outputs, [Column::new("y", Datatype::F32, [-1, 2, -1, 3])]);
    for batch in [1, 4, 2] {
        let inputs = [
            Given::Singles(&[batch, 3], vec![1.0; batch * 3]),
            Given::Singles(&[2, batch, 3], (0..batch * 6).map(|at| at as f32).collect()),
            Given::Singles(&[], vec![2.0]),
        ];
        let (shape, values) = compute(&model, &inputs, None).unwrap();
        assert_eq!((shape, values[0], values[batch * 6 - 1]), (vec![2, batch, 3], 2.0, 2.0 * (batch * 6) as f32));
    }
    let two = model.session().compute(2, &[], None);
    assert!(matches!(two, Err(ComputeError::Input(_))), "{two:?}");
}

#[test]
fn a_batch_of_another_size_than_one_is_the_files_own() {
    let graph = || {
        graph(
            vec![value("x", SINGLE, &["4", "2"])],
            vec![node("Relu", &["x"], "y", vec![])],
            value("y", SINGLE, &["4", "2"]),
        )
    };
    let model = load(graph());
    assert!(model.is_tensors());
    assert_eq!(model.signature().inputs, [Column::new("x", Datatype::F32, [-1, 4, 2])]);
    assert!(matches!(try_load(Mode::Tables, graph()), Err(ModelError::Column { side: "input", .. })));
}

#[test]
fn what_is_given_for_all_rows_together_is_no_table() {
    let model = load(graph(
        vec![value("x", SINGLE, &["batch", "2"])],
        vec![node("ReduceMax", &["x"], "y", vec![int("keepdims", 0)])],
        value("y", SINGLE, &[]),
    ));
    assert!(model.is_tensors());
    let inputs = [Given::Singles(&[3, 2], vec![1.0, 5.0, 2.0, 3.0, 4.0, 0.0])];
    assert_eq!(compute(&model, &inputs, None).unwrap(), (vec![], vec![5.0]));
}

#[test]
fn a_table_may_be_served_as_tensors() {
    let graph = graph(
        vec![value("x", SINGLE, &["time", "2"])],
        vec![node("Relu", &["x"], "y", vec![])],
        value("y", SINGLE, &["time", "2"]),
    );
    let model = try_load(Mode::Tensors, graph).unwrap();
    assert_eq!(model.signature().outputs, [Column::new("y", Datatype::F32, [-1, -1, 2])]);
}

/// `x` without its second dimension if that is 1; the other branch has other dimensions.
fn squeezes(dims: &[&str]) -> GraphProto {
    let output = |name| value(name, SINGLE, &["batch", "n"]);
    let squeezed = GraphProto {
        node: vec![node("Squeeze", &["x"], "squeezed", vec![ints("axes", &[1])])],
        output: vec![output("squeezed")],
        ..GraphProto::default()
    };
    let flat = GraphProto {
        node: vec![
            node("ReduceSum", &["x", "one"], "sums", vec![int("keepdims", 0)]),
            node("Concat", &["sums", "sums"], "twice", vec![int("axis", 1)]),
        ],
        output: vec![output("twice")],
        ..GraphProto::default()
    };
    let mut graph = graph(
        vec![value("x", SINGLE, dims)],
        vec![
            node("Shape", &["x"], "shape", vec![]),
            node("Gather", &["shape", "one"], "size", vec![]),
            node("Equal", &["size", "one"], "is_one", vec![]),
            node("If", &["is_one"], "y", vec![body("then_branch", squeezed), body("else_branch", flat)]),
        ],
        value("y", SINGLE, &["batch", "n"]),
    );
    graph.initializer = vec![longs("one", &[1])];
    // Squeeze takes its axes as an input since 13.
    graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|attribute| attribute.g.as_mut()).for_each(
        |graph| {
            graph.node.iter_mut().filter(|node| node.op_type == "Squeeze").for_each(|node| {
                node.attribute.clear();
                node.input.push("one".into());
            });
        },
    );
    graph
}

#[test]
fn the_branch_that_is_not_taken_is_not_looked_at() {
    let model = load(squeezes(&["batch", "1", "3"]));
    assert!(!model.is_tensors() && !model.may_wait());
    assert_eq!(model.signature().outputs, [Column::new("y", Datatype::F32, [-1, 3])]);
    let inputs = [Given::Singles(&[2, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
    assert_eq!(compute(&model, &inputs, None).unwrap(), (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let model = load(squeezes(&["batch", "2", "1"]));
    let inputs = [Given::Singles(&[1, 2, 1], vec![3.0, 4.0])];
    assert_eq!(compute(&model, &inputs, None).unwrap(), (vec![1, 2], vec![7.0, 7.0]));
}

#[test]
fn a_condition_may_depend_on_a_value() {
    let branch = |op: &str, name: &str| GraphProto {
        node: vec![node(op, &["x"], name, vec![])],
        output: vec![value(name, SINGLE, &["batch", "2"])],
        ..GraphProto::default()
    };
    let branches =
        vec![body("then_branch", branch("Neg", "negative")), body("else_branch", branch("Relu", "positive"))];
    let model = load(graph(
        vec![value("x", SINGLE, &["batch", "2"]), value("flip", LONG, &[])],
        vec![node("Cast", &["flip"], "cond", vec![int("to", BOOL.into())]), node("If", &["cond"], "y", branches)],
        value("y", SINGLE, &["batch", "2"]),
    ));
    for (flip, expected) in [(1, [1.0, -2.0]), (0, [0.0, 2.0]), (1, [1.0, -2.0])] {
        let inputs = [Given::Singles(&[1, 2], vec![-1.0, 2.0]), Given::Longs(&[], vec![flip])];
        assert_eq!(compute(&model, &inputs, None).unwrap(), (vec![1, 2], expected.to_vec()));
    }
}

/// The question that symbols cannot decide: whether a dimension that is open is 1.
fn open_sizes() -> Arc<Model> {
    let model = load(squeezes(&["batch", "many", "m"]));
    assert!(model.may_wait() && !model.is_tensors());
    assert_eq!(model.signature().outputs, [Column::new("y", Datatype::F32, [-1, -1])]);
    model
}

#[test]
fn sizes_that_symbols_cannot_stand_for_get_plans_of_their_own() {
    let model = open_sizes();
    for (many, m) in [(1usize, 2usize), (3, 1), (1, 1), (2, 4), (1, 2)] {
        for rows in [1usize, 3] {
            let shape = [rows, many, m];
            let values: Vec<f32> = (0..rows * many * m).map(|at| at as f32).collect();
            let (got, _) = compute(&model, &[Given::Singles(&shape, values)], None).unwrap();
            assert_eq!(got, [rows, if many == 1 { m } else { 2 * m }], "{shape:?}");
        }
    }
    // However many sizes come, few plans are kept.
    for m in 1..40usize {
        compute(&model, &[Given::Singles(&[1, 1, m], vec![0.0; m])], None).unwrap();
    }
    assert!(model.plans().sized.as_ref().unwrap().kept() <= 8);
}

#[test]
fn one_build_serves_all_who_wait_for_it() {
    let model = open_sizes();
    let sized = model.plans().sized.as_ref().unwrap();
    let plans: Vec<_> = thread::scope(|scope| {
        let wait = || sized.plan(&[1, 5, 77], Wait::Until(None)).unwrap().unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(wait)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(plans.iter().all(|plan| Arc::ptr_eq(plan, &plans[0])));
}

#[test]
fn nobody_waits_for_a_plan_longer_than_until_the_deadline() {
    let model = open_sizes();
    let held: Vec<_> = std::iter::from_fn(Permit::take).collect();
    let soon = Instant::now() + Duration::from_millis(20);
    let late = compute(&model, &[Given::Singles(&[1, 9, 9], vec![0.0; 81])], Some(soon));
    // Another test may have been building, and be done since.
    assert!(matches!(late, Err(ComputeError::Deadline) | Ok(_)), "{late:?}");
    drop(held);
    assert!(compute(&model, &[Given::Singles(&[1, 9, 9], vec![0.0; 81])], None).is_ok());
}

#[test]
fn sizes_that_the_model_cannot_take_are_the_callers() {
    // A product of what fits nothing but four.
    let mut graph = squeezes(&["batch", "many", "m"]);
    graph.node.push(node("MatMul", &["y", "w"], "z", vec![]));
    graph.output = vec![value("z", SINGLE, &["batch", "2"])];
    graph.initializer.push(super::graph_parts::singles("w", &[8, 2], &[1.0; 16]));
    let model = load(graph);
    assert_eq!(compute(&model, &[Given::Singles(&[1, 2, 4], vec![1.0; 8])], None).unwrap().1, [16.0, 16.0]);
    let refused = compute(&model, &[Given::Singles(&[1, 2, 5], vec![1.0; 10])], None);
    assert!(matches!(refused, Err(ComputeError::Invalid { .. })), "{refused:?}");
}
