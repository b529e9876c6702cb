//! With files of a few pixels. `codec/tests` compares decoders and filters with Pillow.

use modelgate_module::testing::{Host, Row, rows};
use modelgate_module::{Column, Datatype, Error, Signature};

use crate::Image;

/// A PNG of 3 x 2 pixels, in base64: red, green, blue; black, gray (128), white.
const SIX: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAGklEQVR4nAXBgQEAIAjAIOxyvXyBEHrD3pYPOYQGgMCnEHEAAAAASUVORK5CYII=";

fn model(datatype: Datatype, shape: [i64; 4]) -> Host {
    let inputs = vec![Column::new("pixels", datatype, shape)];
    Host::new().model(Signature { inputs, outputs: Vec::new() }, |_, _| Ok(()))
}

fn run(host: Host, config: &str, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    host.start::<Image>(config)?.run(rows)
}

fn bytes(config: &str) -> Vec<Row> {
    run(Host::new(), &format!(r#"{{"dtype": "u8", {config}}}"#), rows![[SIX]]).unwrap()
}

#[test]
fn gives_pixels_as_they_are() {
    let planes = [255, 0, 0, 0, 128, 255, 0, 255, 0, 0, 128, 255, 0, 0, 255, 0, 128, 255];
    assert_eq!(bytes(r#""layout": "nchw""#), rows![[planes]]);
    let pixels = [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 128, 128, 128, 255, 255, 255];
    assert_eq!(bytes(r#""layout": "nhwc""#), rows![[pixels]]);
    assert_eq!(bytes(r#""color": "gray""#), rows![[[76, 150, 29, 0, 128, 255]]]);
    let reversed = [0, 0, 255, 0, 255, 0, 255, 0, 0, 0, 0, 0, 128, 128, 128, 255, 255, 255];
    assert_eq!(bytes(r#""color": "bgr", "layout": "nhwc""#), rows![[reversed]]);
}

#[test]
fn crops_and_pads() {
    let gray = |config: &str| bytes(&format!(r#""color": "gray", {config}"#))[0][0].clone();
    assert_eq!(gray(r#""crop": {"center": [1, 2]}"#), [150, 128].into());
    assert_eq!(gray(r#""crop": {"center": [5, 1]}"#), [0, 76, 150, 29, 0].into());
    assert_eq!(gray(r#""pad": {"to": [4, 3], "value": 9}"#), [76, 150, 29, 9, 0, 128, 255, 9, 9, 9, 9, 9].into());
    let config = r#""crop": {"center": [1, 1]}, "pad": {"to": [2, 2], "at": "top-left"}"#;
    assert_eq!(gray(config), [150, 0, 0, 0].into());
    let error = run(Host::new(), r#"{"pad": {"to": [2, 2]}}"#, rows![[SIX]]).unwrap_err();
    assert_eq!(error, Error::invalid("image", 0, "expected at most 2 x 2 pixels, got 3 x 2"));
}

#[test]
fn normalises_as_the_model_takes_it() {
    let config = r#"{"color": "gray", "crop": {"center": [3, 1]}, "mean": [0.5], "std": [0.25]}"#;
    let host = model(Datatype::F32, [-1, 1, 1, 3]);
    let row: Vec<f32> = [76.0f32, 150.0, 29.0].iter().map(|sample| (sample / 255.0 - 0.5) / 0.25).collect();
    assert_eq!(run(host, config, rows![[SIX]]).unwrap(), rows![[[row[0], row[1], row[2]]]]);
    // Without a word of sizes, pictures get the model's.
    let small = run(model(Datatype::U8, [-1, 1, 1, 3]), "{}", rows![[SIX]]).unwrap();
    assert_eq!(small[0][0], [101, 119, 101].into());
}

#[test]
fn takes_no_other_model() {
    let wrong = [
        (Datatype::F32, [-1, 5, 4, 4], "expected the model to take f32 or u8"),
        (Datatype::F64, [-1, 3, 4, 4], "expected the model to take f32 or u8"),
    ];
    for (datatype, shape, expected) in wrong {
        let error = model(datatype, shape).start::<Image>("{}").err().unwrap().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    let fixed = model(Datatype::F32, [-1, 3, 4, 4]).start::<Image>(r#"{"crop": {"center": [2, 2]}}"#);
    let error = fixed.unwrap().run(rows![[SIX]]).unwrap_err();
    assert_eq!(error, Error::invalid("image", 0, "expected 4 x 4 pixels, got 2 x 2"));
}

#[test]
fn a_row_that_is_no_picture_is_named() {
    let error = run(Host::new(), "{}", rows![[SIX], ["GIF89a"]]).unwrap_err();
    let expected = "expected a picture as PNG, JPEG or WebP, got other bytes";
    assert_eq!(error, Error::invalid("image", 1, expected));
    let error = run(Host::new(), r#"{"input": "photo", "max_pixels": 5}"#, rows![[SIX]]).unwrap_err();
    assert_eq!(error, Error::invalid("photo", 0, "expected at most 5 pixels, got 3 x 2"));
}

#[test]
fn refuses_a_wrong_configuration() {
    let wrong = [
        (r#"{"resize": {"width": 2}}"#, "expected `width` and `height`, or `shortest`, or `fit`"),
        (r#"{"resize": {"shortest": 2, "fit": [2, 2]}}"#, "expected `width` and `height`, or `shortest`, or `fit`"),
        (r#"{"resize": {"shortest": 0}}"#, "expected sides of 1 to 16384 pixels, got 0"),
        (r#"{"resize": {"shortest": 9, "filter": "cubic"}}"#, "unknown variant `cubic`"),
        (r#"{"mean": [0.5, 0.5]}"#, "`mean`: expected 1 or 3 numbers, got 2"),
        (r#"{"std": [0.0]}"#, "nothing is divided by 0"),
        (r#"{"dtype": "u8", "scale": 1.0}"#, "the output is u8"),
        (r#"{"size": 224}"#, "unknown field `size`"),
    ];
    for (config, expected) in wrong {
        let error = run(Host::new(), config, rows![[SIX]]).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}
