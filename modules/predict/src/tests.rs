//! With a mock of the model.

use modelgate_module::testing::{Host, rows};
use modelgate_module::{Batch, Column, Datatype, Error, Packer, Signature};

use crate::Predict;

/// A model that gives the class `x mod 4`, the scores `[x, -x, NaN]` and the value `2x`.
fn host() -> Host {
    let signature = Signature {
        inputs: vec![Column::new("X", Datatype::F32, [-1, 1])],
        outputs: vec![
            Column::scalar("label", Datatype::I64),
            Column::new("scores", Datatype::F32, [-1, 3]),
            Column::new("value", Datatype::F32, [-1, 1]),
            Column::new("open", Datatype::F64, [-1, -1]),
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
            "expected `from` to be an output of the model (label, scores, value, open), got \"labels\"",
        ),
        (r#""from": "label", "pick": "argmax""#, "`pick` needs numbers of shape [-1, n]"),
        (r#""from": "scores", "squeeze": true"#, "`squeeze` needs the shape [-1, 1], got [-1, 3]"),
        (r#""from": "value", "classes": ["a"]"#, "`classes` needs integers, or `pick`"),
        (r#""from": "label", "classes": [1, "a"]"#, "`classes`: expected a list of"),
        (r#""from": "label", "pick": "max""#, "unknown variant `max`"),
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
