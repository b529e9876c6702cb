//! With a tokenizer of a few words. `gateway/tests/it/embeddings.rs` compares ids with the Python package.

use modelgate_module::testing::{Host, Row, rows};
use modelgate_module::{Column, Datatype, Error, Signature};

use crate::Text;

/// BERT's steps over eleven pieces.
const TOKENIZER: &str = r###"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "decoder": null,
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "the": 4, "sun": 5, "##ny": 6, "rain": 7, "day": 8, ".": 9, "日": 10}}
}"###;

fn options(options: &str) -> String {
    format!(r#"{{"tokenizer": {TOKENIZER}, {options}}}"#)
}

fn run(config: &str, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    Host::new().start::<Text>(config)?.run(rows)
}

fn model(inputs: Vec<Column>) -> Host {
    Host::new().model(Signature { inputs, outputs: Vec::new() }, |_, _| Ok(()))
}

#[test]
fn pads_to_the_longest_row() {
    let got = run(TOKENIZER, rows![["The sunny day."], ["rain"], [""], ["日 ☂"]]).unwrap();
    let expected = rows![
        [[1, 4, 5, 6, 8, 9, 2], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]],
        [[1, 7, 2, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
        [[1, 2, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
        [[1, 10, 3, 2, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
    ];
    assert_eq!(got, expected);
}

#[test]
fn truncates_and_pads_to_a_fixed_length() {
    let config = options(r#""max_length": 4, "padding": 5, "inputs": ["question"]"#);
    let got = run(&config, rows![["the sunny day"], ["rain"]]).unwrap();
    assert_eq!(got[0], rows![[[1, 4, 5, 2, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]][0]);
    assert_eq!(got[1], rows![[[1, 7, 2, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]][0]);
}

#[test]
fn the_files_own_lengths_hold_unless_others_are_given() {
    let padding = r#""padding": {"strategy": {"Fixed": 5}, "direction": "Left", "pad_to_multiple_of": null,
        "pad_id": 9, "pad_type_id": 1, "pad_token": "."}"#;
    let truncation =
        r#""truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}"#;
    let file = TOKENIZER.replace(r#""padding": null"#, padding).replace(r#""truncation": null"#, truncation);
    let text = rows![["the sunny day"]];
    assert_eq!(run(&file, text.clone()).unwrap(), rows![[[9, 1, 4, 5, 2], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0]]]);
    let longer = format!(r#"{{"max_length": 6, "tokenizer": {file}}}"#);
    assert_eq!(run(&longer, text.clone()).unwrap()[0][0], [1, 4, 5, 6, 8, 2].into());
    let wider = format!(r#"{{"max_length": 6, "padding": 7, "tokenizer": {file}}}"#);
    assert_eq!(run(&wider, text).unwrap()[0][0], [9, 1, 4, 5, 6, 8, 2].into());
}

#[test]
fn takes_pairs() {
    let config = options(r#""inputs": ["premise", "hypothesis"], "max_length": 6"#);
    let got = run(&config, rows![["sunny day", "rain"]]).unwrap();
    assert_eq!(got, rows![[[1, 5, 6, 2, 7, 2], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]]);
}

#[test]
fn gives_what_the_model_takes() {
    let inputs =
        vec![Column::new("attention_mask", Datatype::I32, [-1, 4]), Column::new("input_ids", Datatype::I64, [-1, 4])];
    let mut text = model(inputs.clone()).start::<Text>(TOKENIZER).unwrap();
    assert_eq!(text.signature().outputs, inputs);
    assert_eq!(
        text.run(rows![["the sunny day"], ["rain"]]).unwrap(),
        rows![[[1, 1, 1, 1], [1, 4, 5, 2]], [[1, 1, 1, 0], [1, 7, 2, 0]]]
    );
    let wrong = [
        (Column::new("pixels", Datatype::F32, [-1, 3]), "the model takes pixels"),
        (Column::new("input_ids", Datatype::F32, [-1, -1]), "expected the model to take i64 or i32"),
        (Column::new("attention_mask", Datatype::I64, [-1, -1]), "the model takes no 'input_ids'"),
    ];
    for (column, expected) in wrong {
        let error = model(vec![column]).start::<Text>(TOKENIZER).err().unwrap().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}

#[test]
fn bounds_what_it_makes() {
    let config = options(r#""max_bytes": 8, "max_tokens": 12"#);
    let error = run(&config, rows![["rain"], ["rain rain"]]).unwrap_err();
    assert_eq!(error, Error::invalid("text", 1, "expected a text of at most 8 bytes, got 9"));
    assert!(run(&config, rows![["rain"], ["rain"], ["rain"], ["rain"]]).is_ok());
    let error = run(&config, rows![["rain"], ["rain"], ["rain"], ["the day"]]).unwrap_err();
    assert!(error.to_string().contains("at most 12 tokens"), "{error}");
}

#[test]
fn refuses_a_wrong_configuration() {
    let dropout = r#"{"tokenizer": {"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}}}"#;
    let wrong = [
        ("{}".to_owned(), "missing field `tokenizer`"),
        (r#"{"model": {"type": "WordPiece"}}"#.to_owned(), "`tokenizer`: "),
        (dropout.to_owned(), "`dropout`"),
        (options(r#""max_length": 2"#), "no place for a text"),
        (options(r#""max_length": 0"#), "expected 1 to 32768 tokens"),
        (options(r#""padding": "max""#), "expected \"longest\" or a number"),
        (options(r#""inputs": []"#), "expected one column"),
        (options(r#""pad": 1"#), "unknown field `pad`"),
    ];
    for (config, expected) in wrong {
        let error = run(&config, rows![["a"]]).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}
