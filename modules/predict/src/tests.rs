//! With a mock of the model.

use modelgate_module::testing::{Host, rows};
use modelgate_module::{Batch, Column, Datatype, Error, Packer, Signature};

use crate::Predict;

/// A model that gives the class `x mod 4`, the scores `[x, -x, NaN]` and `[x, 3, 1, 3, -x]`, and the value `2x`.
fn host() -> Host {
    let signature = Signature {
        inputs: vec![Column::new("X", Datatype::F32, [-1, 1])],
        outputs: vec![
            Column::scalar("label", Datatype::I64),
            Column::new("scores", Datatype::F32, [-1, 3]),
            Column::new("value", Datatype::F32, [-1, 1]),
            Column::new("open", Datatype::F64, [-1, -1]),
            Column::new("wide", Datatype::F32, [-1, 5]),
        ],
    };
    Host::new().model(signature, compute)
}

fn compute(inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
    let x = inputs.values::<f32>("X")?;
    if x.iter().any(|x| *x > 1e6) {
        return Err(Error::model("too large for me"));
    }
    outputs.write("label", &x.iter().map(|x| *x as i64 % 4).collect::<Vec<_>>())?;
    outputs.write("scores", &x.iter().flat_map(|x| [*x, -x, f32::NAN]).collect::<Vec<_>>())?;
    outputs.write("value", &x.iter().map(|x| 2.0 * x).collect::<Vec<_>>())?;
    for (open, x) in outputs.fill_dims::<f64>("open", &[1])?.iter_mut().zip(x) {
        *open = f64::from(*x);
    }
    outputs.write("wide", &x.iter().flat_map(|x| [*x, 3.0, 1.0, 3.0, -x]).collect::<Vec<_>>())?;
    Ok(())
}

fn run(output: &str, x: &[f32]) -> Result<Vec<modelgate_module::testing::Row>, Error> {
    let config = format!(r#"{{"outputs": [{{"name": "y", {output}}}]}}"#);
    host().start::<Predict>(&config)?.run(x.iter().map(|x| vec![[*x].into()]).collect())
}

#[test]
fn passes_everything_on_without_a_configuration() {
    for config in ["", "{}"] {
        let mut predict = host().start::<Predict>(config).unwrap();
        assert_eq!(predict.signature().outputs[2].name, "value");
        let got = predict.run(rows![[[5.0]]]).unwrap();
        assert_eq!((&got[0][0], &got[0][2]), (&1.into(), &[10.0].into()));
    }
}

#[test]
fn renames_reorders_and_squeezes() {
    assert_eq!(run(r#""from": "label""#, &[2.0, 3.0]).unwrap(), rows![[2], [3]]);
    assert_eq!(run(r#""from": "value""#, &[2.0]).unwrap(), rows![[[4.0]]]);
    assert_eq!(run(r#""from": "value", "squeeze": true"#, &[2.0, 3.5]).unwrap(), rows![[4.0], [7.0]]);
    assert_eq!(run(r#""from": "open", "squeeze": true"#, &[2.0, 3.5]).unwrap(), rows![[2.0], [3.5]]);
    assert_eq!(run(r#""from": "open""#, &[2.0]).unwrap(), rows![[[2.0]]]);
    let config = r#"{"outputs": [{"name": "b", "from": "value", "squeeze": true}, {"name": "a", "from": "label"}]}"#;
    let mut predict = host().start::<Predict>(config).unwrap();
    assert_eq!(predict.run(rows![[[6.0]]]).unwrap(), rows![[12.0, 2]]);
}

#[test]
fn picks_the_largest_but_never_nan() {
    let pick = r#""from": "scores", "pick": "argmax""#;
    assert_eq!(run(pick, &[2.0, -2.0, 0.0]).unwrap(), rows![[0], [1], [0]]);
    assert_eq!(run(pick, &[f32::NAN]).unwrap_err(), Error::model("row 0: no score is a number"));
    let named = format!(r#"{pick}, "classes": ["up", "down", "odd"]"#);
    assert_eq!(run(&named, &[2.0, -2.0]).unwrap(), rows![["up"], ["down"]]);
}

#[test]
fn gives_the_best_classes_with_their_scores() {
    let best = |output: &str, x: &[f32]| run(&format!(r#""from": "wide", {output}"#), x);
    // The scores are [x, 3, 1, 3, -x].
    assert_eq!(best(r#""pick": "argmax", "top": 3"#, &[2.0, 9.0]).unwrap(), rows![[[1, 3, 0]], [[0, 1, 3]]]);
    assert_eq!(best(r#""pick": "max", "top": 2"#, &[2.0, -9.0]).unwrap(), rows![[[3.0, 3.0]], [[9.0, 3.0]]]);
    assert_eq!(best(r#""pick": "max""#, &[7.0, 0.0]).unwrap(), rows![[7.0], [3.0]]);
    let all = best(r#""pick": "argmax", "top": 5, "classes": ["a", "b", "c", "d", "e"]"#, &[0.5]).unwrap();
    assert_eq!(all, rows![[["b", "d", "c", "a", "e"]]]);
    let few = run(r#""from": "scores", "pick": "max", "top": 3"#, &[2.0]).unwrap_err();
    assert_eq!(few, Error::model("row 0: 3 are to be picked, and 2 scores are numbers"));
    let narrow = run(r#""from": "open", "pick": "max", "top": 3"#, &[2.0]).unwrap_err();
    assert_eq!(narrow, Error::model("'y': expected 3 scores, got 1"));
}

#[test]
fn makes_probabilities_of_scores() {
    let sigmoid = run(r#""from": "value", "apply": "sigmoid", "squeeze": true"#, &[0.0, 50.0, -500.0]).unwrap();
    assert_eq!(sigmoid, rows![[0.5], [1.0], [0.0]]);
    // e^3 is told from e^1, and nothing overflows.
    let probabilities = |x: f32| {
        let rows = run(r#""from": "wide", "apply": "softmax", "pick": "max", "top": 3"#, &[x]).unwrap();
        format!("{:?}", rows[0][0])
    };
    let e = |x: f64| x.exp();
    let sum = e(0.0) + 2.0 * e(3.0) + e(1.0) + e(0.0);
    let expected = [e(3.0) / sum, e(3.0) / sum, e(1.0) / sum].map(|value| value as f32);
    let expected = shown(&expected);
    assert_eq!(probabilities(0.0), expected);
    assert_eq!(run(r#""from": "wide", "apply": "softmax", "at": 0"#, &[900_000.0]).unwrap(), rows![[1.0]]);
}

/// The text of a row of these.
fn shown(values: &[f32]) -> String {
    let value: modelgate_module::testing::Value = [values[0], values[1], values[2]].into();
    format!("{value:?}")
}

#[test]
fn decides_by_a_threshold() {
    assert_eq!(run(r#""from": "wide", "at": 0, "threshold": 0.5"#, &[0.5, 0.49]).unwrap(), rows![[1], [0]]);
    let named = r#""from": "value", "squeeze": true, "threshold": 1, "classes": ["no", "yes"]"#;
    assert_eq!(run(named, &[0.5, 0.49]).unwrap(), rows![["yes"], ["no"]]);
    let each = r#""from": "wide", "threshold": 2, "classes": [false, true]"#;
    assert_eq!(run(each, &[-4.0]).unwrap(), rows![[[false, true, false, true, true]]]);
    let nan = run(r#""from": "scores", "threshold": 0"#, &[1.0]).unwrap_err();
    assert_eq!(nan, Error::model("'y': a score is NaN"));
}

#[test]
fn names_the_classes() {
    let label = |classes: &str, x: &[f32]| run(&format!(r#""from": "label", "classes": {classes}"#), x);
    assert_eq!(label(r#"["a", "b", "ñ"]"#, &[2.0, 0.0]).unwrap(), rows![["ñ"], ["a"]]);
    assert_eq!(label("[10, 20, 70]", &[2.0, 0.0]).unwrap(), rows![[70], [10]]);
    assert_eq!(label("[false, true]", &[1.0, 0.0]).unwrap(), rows![[true], [false]]);
    assert_eq!(label(r#"["a", "b"]"#, &[2.0]).unwrap_err(), Error::model("'y': there is no class 2 of 2"));
    assert_eq!(label(r#"["a", "b"]"#, &[-1.0]).unwrap_err(), Error::model("'y': there is no class -1 of 2"));
}

#[test]
fn tells_which_class_each_value_belongs_to() {
    let config = r#"{"outputs": [{"name": "p", "from": "scores", "names": ["a", "b", "ñ"]}]}"#;
    let mut predict = host().start::<Predict>(config).unwrap();
    assert_eq!(predict.signature().outputs[0].categories, ["a", "b", "ñ"]);
    assert_eq!(predict.run(rows![[[2.0]]]).unwrap()[0].len(), 1);
}

#[test]
fn refuses_what_the_model_does_not_give() {
    let wrong = [
        (r#""from": "scores", "names": ["a"]"#, "`names` has 1, so it needs the shape [-1, 1], got [-1, 3]"),
        (r#""from": "open", "names": ["a"]"#, "so it needs the shape [-1, 1], got [-1, -1]"),
        (
            r#""from": "labels""#,
            "expected `from` to be an output of the model (label, scores, value, open, wide), got \"labels\"",
        ),
        (r#""from": "label", "pick": "argmax""#, "`pick` needs numbers of shape [-1, n]"),
        (r#""from": "scores", "squeeze": true"#, "`squeeze` needs the shape [-1, 1], got [-1, 3]"),
        (r#""from": "value", "classes": ["a"]"#, "`classes` needs integers, `pick` or `threshold`"),
        (r#""from": "label", "classes": [1, "a"]"#, "`classes`: expected a list of"),
        (r#""from": "label", "pick": "least""#, "unknown variant `least`"),
        (r#""from": "label", "apply": "softmax""#, "`apply` needs 32-bit or 64-bit floats of shape [-1, n]"),
        (r#""from": "scores", "pick": "argmax", "names": ["a"]"#, "`names` and `pick` exclude each other"),
        (r#""from": "scores", "pick": "argmax", "top": 4"#, "`pick` needs 4 numbers in a row"),
        (r#""from": "scores", "pick": "max", "top": 0"#, "`top`: expected 1 to 1000, got 0"),
        (r#""from": "scores", "top": 2"#, "`top` needs `pick`"),
        (r#""from": "scores", "at": 3"#, "`at` needs 4 numbers in a row"),
        (r#""from": "scores", "at": 1, "pick": "max""#, "exclude each other"),
        (r#""from": "scores", "pick": "argmax", "threshold": 1"#, "`threshold` needs scores"),
        (r#""from": "value", "threshold": "1""#, "invalid type: string"),
        (r#""from": "label", "clases": ["a"]"#, "unknown field `clases`"),
    ];
    for (output, expected) in wrong {
        let error = run(output, &[]).err().unwrap_or_else(|| panic!("took {output}")).to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    assert!(Host::new().start::<Predict>("").is_err(), "took a bundle without a model");
    assert!(host().start::<Predict>(r#"{"outputs": []}"#).is_err());
}

#[test]
fn hands_on_the_models_own_error() {
    assert_eq!(run(r#""from": "label""#, &[2e6]).unwrap_err(), Error::model("too large for me"));
}

/// A network that gives four boxes of two classes each, as `[4, 4 + 2]` and the other way round. The third box is of the same
/// thing as the first and less sure of it; the fourth is sure of nothing.
fn detector() -> Host {
    let signature = Signature {
        inputs: vec![Column::new("X", Datatype::F32, [-1, 1])],
        outputs: vec![
            Column::new("boxes_first", Datatype::F32, [-1, 4, 6]),
            Column::new("features_first", Datatype::F32, [-1, 6, -1]),
        ],
    };
    Host::new().model(signature, |inputs, outputs| {
        let boxes: [[f32; 6]; 4] = [
            [50.0, 50.0, 20.0, 20.0, 0.125, 0.875],
            [10.0, 10.0, 20.0, 20.0, 0.75, 0.25],
            [51.0, 50.0, 20.0, 20.0, 0.0, 0.625],
            [90.0, 90.0, 20.0, 20.0, 0.25, f32::NAN],
        ];
        let rows = inputs.rows();
        let across: Vec<f32> = (0..6).flat_map(|feature| boxes.map(|one| one[feature])).collect();
        outputs.write("boxes_first", &boxes.concat().repeat(rows))?;
        outputs.fill_dims::<f32>("features_first", &[4])?.copy_from_slice(&across.repeat(rows));
        Ok(())
    })
}

fn detect(config: &str, count: usize) -> Result<Vec<modelgate_module::testing::Row>, Error> {
    let config = format!(r#"{{"detections": {{{config}}}}}"#);
    detector().start::<Predict>(&config)?.run(vec![vec![[1.0].into()]; count])
}

#[test]
fn keeps_one_box_of_each_thing() {
    let expected =
        rows![[[40.0, 40.0, 60.0, 60.0, 0.0, 0.0, 20.0, 20.0, 0.0, 0.0, 0.0, 0.0], [1, 0, -1], [0.875, 0.75, 0.0], 2]];
    for from in [r#""from": "features_first""#, r#""from": "boxes_first", "layout": "boxes_first""#] {
        let found = detect(&format!(r#"{from}, "most": 3"#), 2).unwrap();
        assert_eq!(found, [expected.clone(), expected.clone()].concat(), "{from}");
    }
    let named = r#""from": "features_first", "most": 2, "classes": ["cat", "dog"], "relative_to": [80, 160]"#;
    let found = detect(named, 1).unwrap();
    assert_eq!(found[0][0], [0.5, 0.25, 0.75, 0.375, 0.0, 0.0, 0.25, 0.125].into());
    assert_eq!(found[0][1], ["dog", "cat"].into());
    // Boxes that overlap less than they may, and scores that are too small.
    let count = |config: &str| detect(&format!(r#""from": "features_first", {config}"#), 1).unwrap()[0][3].clone();
    assert_eq!(count(r#""overlap": 0.95"#), 3.into());
    assert_eq!(count(r#""score": 0.85"#), 1.into());
    assert_eq!(count(r#""most": 1"#), 1.into());
    assert_eq!(count(r#""boxes": "corners", "any_class": true"#), 3.into());
    assert_eq!(count(r#""sigmoid": true, "score": 0.69"#), 1.into());
    // The first score tells whether there is anything: 0.75 × 0.25 is the most.
    assert_eq!(count(r#""objectness": true, "score": 0.15"#), 1.into());
}

#[test]
fn refuses_detections_that_do_not_fit() {
    for (config, expected) in [
        (r#""from": "boxes""#, "an output of the model (boxes_first, features_first)"),
        (r#""from": "boxes_first", "layout": "boxes_first", "classes": ["a"]"#, "a box has 5 values"),
        (r#""from": "features_first", "objectness": true, "classes": ["a", "b"]"#, "a box has 7 values"),
        (r#""from": "features_first", "most": 1001"#, "`most`: expected 1 to 1000"),
        (r#""from": "features_first", "score": 1.5"#, "`score`: expected 0 to 1, got 1.5"),
        (r#""from": "features_first", "relative_to": [0, 1]"#, "`relative_to`"),
    ] {
        let error = detect(config, 1).err().unwrap_or_else(|| panic!("took {config}")).to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    let both = r#"{"detections": {"from": "boxes_first"}, "outputs": []}"#;
    assert!(detector().start::<Predict>(both).err().unwrap().to_string().contains("excludes"));
}
