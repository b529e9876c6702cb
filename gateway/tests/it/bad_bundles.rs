//! Bundles that cannot be served are refused with everything that is wrong with them.

use std::fs;

use serde_json::Value;

use crate::support::{BundleFolder, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_verified() {
    let demo = BundleFolder::copy_of("demo");
    fs::remove_file(demo.file("model.onnx")).expect("removed");
    let told = refusal(demo.path()).await;
    assert!(told.contains("model.onnx") && told.contains("No such file"), "{told}");

    let demo = BundleFolder::copy_of("demo");
    let mut model = fs::read(demo.file("model.onnx")).expect("a model");
    model[100] ^= 1;
    demo.write("model.onnx", &model);
    demo.write("preprocess.json", b"{}");
    let told = refusal(demo.path()).await;
    assert!(told.contains("model.onnx: wrong digest") && told.contains("preprocess.json: wrong digest"), "{told}");

    let told = refusal(std::path::Path::new("/nonexistent")).await;
    assert!(told.contains("bundle.toml"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_stay_inside_their_folder() {
    for file in ["../model.onnx", "/etc/passwd"] {
        let demo = BundleFolder::copy_of("demo");
        demo.edit_manifest("\"model.onnx\"", &format!("\"{file}\""));
        let told = refusal(demo.path()).await;
        assert!(told.contains("inside the bundle"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_graph_is_told() {
    let demo = BundleFolder::copy_of("demo");
    let model = fs::read(demo.file("model.onnx")).expect("a model");
    for bytes in [&model[..model.len() / 2], b"not a graph", b""] {
        demo.replace("model.onnx", bytes);
        let told = refusal(demo.path()).await;
        assert!(told.contains("model:"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unsupported_operator_is_named() {
    let demo = BundleFolder::copy_of("demo");
    let graph = fs::read("tests/data/unsupported.onnx").expect("a graph with operators nobody has");
    demo.replace("model.onnx", &graph);
    let told = refusal(demo.path()).await;
    assert!(told.contains("Frobnicate") && told.contains("Defenestrate"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn differing_golden_examples_are_told() {
    let demo = BundleFolder::copy_of("demo");
    let golden = fs::read(demo.file("golden.json")).expect("golden examples");
    let mut golden: Value = serde_json::from_slice(&golden).expect("JSON");
    golden["examples"][0]["output"]["prediction"] = 7.into();
    golden["examples"][1]["output"]["probabilities"][0] = 0.999.into();
    demo.replace("golden.json", golden.to_string().as_bytes());
    let told = refusal(demo.path()).await;
    assert!(told.contains("golden example 0: 'prediction': expected 7, got 2"), "{told}");
    assert!(told.contains("golden example 1: 'probabilities'"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_that_do_not_fit_are_told() {
    let demo = BundleFolder::copy_of("demo");
    let config = fs::read_to_string(demo.file("preprocess.json")).expect("a config");
    demo.replace("preprocess.json", config.replace("\"f32\"", "\"f64\"").as_bytes());
    let told = refusal(demo.path()).await;
    assert!(told.contains("gives [") && told.contains("takes ["), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_are_none_are_told() {
    for (wasm, words) in [
        (b"#!/bin/sh".as_slice(), "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "contract"),
        (b"\0asm\x01\0\0\0garbage", "contract"),
        (b"\0asm\x0d\0\x01\0", "does not export"),
        (b"\0asm\x0d\0\x01\0garbage", "stage 'only'"),
    ] {
        let told = refusal(BundleFolder::custom("none", wasm, "", "").path()).await;
        assert!(told.contains(words), "{wasm:?}: {told}");
    }
}
