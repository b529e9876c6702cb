//! Sizes of a request that do not fit the graph, or each other: the caller's error, and nothing is read beyond a tensor's
//! end.

use tract_onnx::pb::{AttributeProto, GraphProto};

use super::graph_parts::{int, node, singles};
use super::shapes::{Given, SINGLE, compute, graph, ints, load, try_load, value};
use crate::{ComputeError, Mode};

fn ones(shape: &[usize]) -> Given<'_> {
    Given::Singles(shape, vec![1.0; shape.iter().product()])
}

/// A convolution of pictures of any size with a square of `side` places.
fn convolution(side: i64, channels: i64, attributes: Vec<AttributeProto>) -> GraphProto {
    let image = ["batch".to_owned(), channels.to_string(), "h".to_owned(), "w".to_owned()];
    let image: Vec<&str> = image.iter().map(String::as_str).collect();
    let mut graph = graph(
        vec![value("x", SINGLE, &image)],
        vec![node("Conv", &["x", "weights"], "y", [attributes, vec![int("group", channels)]].concat())],
        value("y", SINGLE, &["batch", "c", "p", "q"]),
    );
    let count = usize::try_from(channels * side * side).unwrap();
    graph.initializer = vec![singles("weights", &[channels, 1, side, side], &vec![1.0; count])];
    graph
}

#[test]
fn a_picture_is_no_smaller_than_the_window_that_moves_over_it() {
    for (side, channels, attributes, too_small, fits, sum) in [
        (5, 1, vec![], [3, 3], [5, 6], 25.0),
        (5, 1, vec![], [9, 2], [9, 5], 25.0),
        (5, 2, vec![], [3, 3], [5, 5], 25.0),
        (5, 1, vec![ints("strides", &[4, 4])], [3, 3], [5, 5], 25.0),
        (3, 1, vec![ints("dilations", &[3, 3])], [5, 5], [7, 7], 9.0),
        (5, 1, vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])], [2, 2], [3, 3], 9.0),
    ] {
        let model = load(convolution(side, channels, attributes));
        let run = |[height, width]: [usize; 2]| {
            compute(&model, &[ones(&[1, usize::try_from(channels).unwrap(), height, width])], None)
        };
        for _ in 0..3 {
            let refused = run(too_small);
            assert!(matches!(refused, Err(ComputeError::Invalid { .. })), "{side} over {too_small:?}: {refused:?}");
            assert_eq!(run(fits).unwrap().1.first(), Some(&sum), "{side} over {fits:?}");
        }
    }
    let fixed = |size: &str| {
        let mut graph = convolution(5, 1, vec![ints("strides", &[4, 4])]);
        graph.input = vec![value("x", SINGLE, &["batch", "1", size, size])];
        try_load(Mode::Auto, graph).is_ok()
    };
    assert!(!fixed("3") && fixed("5"));
}

#[test]
fn matrices_that_do_not_fit_are_not_multiplied() {
    let product = |one: &[&str], other: &[&str]| {
        let output = value("y", SINGLE, &["2", "2"]);
        graph(
            vec![value("a", SINGLE, one), value("b", SINGLE, other)],
            vec![node("MatMul", &["a", "b"], "y", vec![])],
            output,
        )
    };
    let model = load(product(&["2", "k"], &["l", "2"]));
    let run = |one: &[usize], other: &[usize]| compute(&model, &[ones(one), ones(other)], None);
    for (one, other) in [([2, 3], [5, 2]), ([2, 500], [3, 2])] {
        let refused = run(&one, &other);
        assert!(matches!(refused, Err(ComputeError::Invalid { .. })), "{one:?} by {other:?}: {refused:?}");
    }
    assert_eq!(run(&[2, 3], &[3, 2]).unwrap().1, [3.0; 4]);
    assert!(try_load(Mode::Tensors, product(&["2", "3"], &["5", "2"])).is_err());
    // With weights of the file's.
    let mut layer = graph(
        vec![value("x", SINGLE, &["batch", "k"])],
        vec![node("MatMul", &["x", "w"], "y", vec![])],
        value("y", SINGLE, &["batch", "3"]),
    );
    layer.initializer = vec![singles("w", &[4, 3], &[1.0; 12])];
    if let Ok(model) = try_load(Mode::Auto, layer) {
        let refused = compute(&model, &[ones(&[2, 9])], None);
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(compute(&model, &[ones(&[2, 4])], None).unwrap().1, [4.0; 6]);
    }
}

#[test]
fn what_the_sizes_rule_out_is_told_to_the_caller() {
    let pool = |op: &str| {
        graph(
            vec![value("x", SINGLE, &["batch", "1", "h", "w"])],
            vec![node(op, &["x"], "y", vec![ints("kernel_shape", &[5, 5])])],
            value("y", SINGLE, &["batch", "1", "p", "q"]),
        )
    };
    for op in ["MaxPool", "AveragePool", "LpPool"] {
        let refused = compute(&load(pool(op)), &[ones(&[1, 1, 3, 3])], None);
        assert!(matches!(refused, Err(ComputeError::Invalid { .. })), "{op}: {refused:?}");
    }
    let indices = graph(
        vec![value("x", SINGLE, &["batch", "n"])],
        vec![
            node("ArgMax", &["x"], "i", vec![int("axis", 1), int("keepdims", 0)]),
            node("Cast", &["i"], "y", vec![int("to", SINGLE.into())]),
        ],
        value("y", SINGLE, &["batch"]),
    );
    let model = load(indices);
    let of_nothing = compute(&model, &[ones(&[2, 0])], None);
    assert!(of_nothing.is_err(), "{of_nothing:?}");
}

/// Nothing but an attribute says how many values a row gets.
#[test]
fn a_count_of_targets_alone_makes_no_values() {
    for (op, attribute) in [("LinearRegressor", "targets"), ("TreeEnsembleRegressor", "n_targets")] {
        let mut node = node(op, &["x"], "y", vec![int(attribute, 1 << 40)]);
        node.domain = "ai.onnx.ml".to_owned();
        let graph =
            graph(vec![value("x", SINGLE, &["batch", "2"])], vec![node], value("y", SINGLE, &["batch", "targets"]));
        assert!(try_load(Mode::Auto, graph).is_err(), "{op}");
    }
}
