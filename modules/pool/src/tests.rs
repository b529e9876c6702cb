//! With a mock of the model.

use modelgate_module::testing::{Host, Row, rows};
use modelgate_module::{Batch, Column, Datatype, Error, Packer, Signature};

use crate::Pooled;

/// Embeds a token as `[id, -id]`, and all padding as NaN.
fn host(length: i64) -> Host {
    let sequence = |name| Column::new(name, Datatype::I64, [-1, length]);
    let signature = Signature {
        inputs: vec![sequence("input_ids"), sequence("attention_mask")],
        outputs: vec![
            Column::new("pooler", Datatype::F32, [-1, 2]),
            Column::new("hidden", Datatype::F32, [-1, length, 2]),
        ],
    };
    Host::new().model(signature, move |inputs: &Batch<'_>, outputs: &mut Packer<'_>| {
        let ids = inputs.values::<i64>("input_ids")?;
        let mask = inputs.values::<i64>("attention_mask")?;
        let width = [inputs.view("input_ids")?.row_size as u64];
        outputs.fill::<f32>("pooler")?;
        let hidden = outputs.fill_dims::<f32>("hidden", if length < 0 { &width } else { &[] })?;
        for (hidden, (id, mask)) in hidden.chunks_exact_mut(2).zip(ids.iter().zip(mask)) {
            let value = if *mask == 0 { f32::NAN } else { *id as f32 };
            hidden.copy_from_slice(&[value, -value]);
        }
        // A model that runs a row alone sees no padding, unless its length is fixed.
        if inputs.rows() == 1 && length < 0 && mask.len() > 1 && mask.contains(&0) {
            return Err(Error::model("padding"));
        }
        Ok(())
    })
}

fn run(config: &str, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    host(-1).start::<Pooled>(config)?.run(rows)
}

fn batch() -> Vec<Row> {
    rows![[[3, 4, 0], [1, 1, 0]], [[0, 7, 1], [0, 1, 1]], [[9, 9, 9], [0, 0, 0]]]
}

#[test]
fn pools_tokens_and_no_padding() {
    for runs in ["alone", "together"] {
        let pooled = |pooling| run(&format!(r#"{{"pooling": "{pooling}", "rows": "{runs}"}}"#), batch()).unwrap();
        assert_eq!(pooled("mean"), rows![[[3.5, -3.5]], [[4.0, -4.0]], [[0.0, 0.0]]], "{runs}");
        assert_eq!(pooled("cls"), rows![[[3.0, -3.0]], [[7.0, -7.0]], [[0.0, 0.0]]], "{runs}");
        assert_eq!(pooled("max"), rows![[[4.0, -3.0]], [[7.0, -1.0]], [[0.0, 0.0]]], "{runs}");
    }
}

#[test]
fn normalizes_and_counts() {
    let config = r#"{"normalize": true, "pooling": "cls", "tokens": "tokens", "name": "e"}"#;
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let got = run(config, rows![[[7, 4, 0], [1, 1, 0]], [[0, 7, 1], [0, 1, 1]], [[9, 9, 9], [0, 0, 0]]]).unwrap();
    assert_eq!(got, rows![[[half, -half], 2], [[half, -half], 2], [[0.0, 0.0], 0]]);
}

#[test]
fn keeps_the_padding_where_it_has_to() {
    let expected = rows![[[3.5, -3.5]], [[4.0, -4.0]], [[0.0, 0.0]]];
    assert_eq!(host(3).start::<Pooled>("").unwrap().run(batch()).unwrap(), expected);
    assert_eq!(run(r#"{"rows": "padded"}"#, batch()).unwrap_err(), Error::model("padding"));
}

#[test]
fn refuses_what_cannot_be_pooled() {
    let wrong = [
        (r#"{"from": "pooler"}"#, "expected pooler to be f32 of shape [-1, n, width]"),
        (r#"{"from": "none"}"#, "expected none to be"),
        (r#"{"pooling": "sum"}"#, "unknown variant `sum`"),
        (r#"{"normalise": true}"#, "unknown field `normalise`"),
    ];
    for (config, expected) in wrong {
        let error = run(config, batch()).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    assert!(Host::new().start::<Pooled>("").is_err(), "took a bundle without a model");
    let sequence = |name| Column::new(name, Datatype::F32, [-1, -1]);
    let numbers =
        Signature { inputs: vec![sequence("x")], outputs: vec![Column::new("hidden", Datatype::F32, [-1, -1, 2])] };
    assert!(Host::new().model(numbers, |_, _| Ok(())).start::<Pooled>("").is_err(), "took numbers for tokens");
}
