//! A body's decoded form takes no more than some times its bytes, whatever it says: measured on a process of its own.
//!
//! With `MODELGATE_AMPLIFICATION_MIB=1,4,16,63` bodies are of those sizes, and `--nocapture` shows what each took.

#![expect(clippy::print_stdout, reason = "shown where somebody measures")]

use std::{
    io::Write,
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::{
    real::Served,
    support::{BundleFolder, client, demo_row, grpc},
};

const JSON: &str = "application/json";
const MODEL: &str = "modelo_covertype_vf";

/// The memory that a request may add to the process whatever its size, and for each byte of its body and its answer.
const FLOOR: usize = 32 << 20;
const FACTOR: usize = 8;

/// The sizes of bodies, in bytes.
#[expect(clippy::disallowed_methods, reason = "a test that may be told more")]
fn sizes() -> Vec<usize> {
    let given = std::env::var("MODELGATE_AMPLIFICATION_MIB").unwrap_or_else(|_| "1,16".into());
    given.split(',').map(|mib| mib.parse::<usize>().expect("MODELGATE_AMPLIFICATION_MIB: numbers") << 20).collect()
}

fn serve(bundle: &[&str]) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command
        .arg("serve")
        .args(bundle)
        .args(["--listen", "127.0.0.1:0", "--workers", "2", "--io-threads", "1"])
        .args(["--max-instances", "32", "--access-log", "0"])
        .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")])
        .stderr(Stdio::null());
    Served::start(&mut command)
}

/// `unit` again and again between two texts, up to so many bytes.
fn filled(before: &str, unit: &str, after: &str, size: usize) -> Vec<u8> {
    let count = size.saturating_sub(before.len() + after.len()) / unit.len();
    [before, &unit.repeat(count), after].concat().into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(body).expect("into memory");
    gzip.finish().expect("whole")
}

/// Sends it and gives the status and what it added to the memory at most, beyond what it may.
async fn excess(served: &Served, path: &str, kind: &str, body: &[u8], is_gzip: bool) -> (u16, isize) {
    let before = served.memory("VmRSS");
    served.forget_peak();
    let url = format!("http://{}{path}", served.address);
    let mut request = client().post(url).header("content-type", kind);
    if is_gzip {
        request = request.header("content-encoding", "gzip");
    }
    let sent = if is_gzip { gzip(body) } else { body.to_vec() };
    let answer = request.body(sent).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let answer = answer.bytes().await.expect("all of it").len();
    let added = served.memory("VmHWM").saturating_sub(before);
    (status, beyond(added, body.len() + answer))
}

/// The memory added beyond the most for so many bytes. Prints both.
fn beyond(added: usize, bytes: usize) -> isize {
    let ratio = added.saturating_sub(FLOOR) as f64 / bytes as f64;
    println!("{added:>11} bytes for {bytes:>9}: {ratio:.2} beyond the floor");
    added as isize - (FLOOR + FACTOR * bytes) as isize
}

/// Bodies that stand for many times their own size.
fn bombs(size: usize) -> Vec<(&'static str, String, &'static str, Vec<u8>)> {
    let infer = format!("/v2/models/{MODEL}/infer");
    let nested = size.min(100 << 10);
    vec![
        ("a model that is a list", "/predict".into(), JSON, filled(r#"{"model":["#, "0,", "0]}", size)),
        ("a model of lists", "/predict".into(), JSON, filled(r#"{"model":["#, "[],", "0]}", size)),
        ("rows of nothing", "/predict".into(), JSON, filled("[", "{},", "{}]", size)),
        ("keys that are unknown", "/predict".into(), JSON, filled("{", r#""a":1,"#, r#""b":1}"#, size)),
        ("lists in a field", "/predict".into(), JSON, filled(r#"{"Slope":"#, "[", "", nested)),
        (
            "columns without names",
            "/invocations".into(),
            JSON,
            filled(r#"{"dataframe_split":{"columns":["#, r#""","#, r#"""],"data":[]}}"#, size),
        ),
        ("rows that are empty", "/invocations".into(), JSON, filled(r#"{"instances":["#, "[],", "[]]}", size)),
        ("other keys", "/invocations".into(), JSON, filled("{", r#""a":[],"#, r#""b":1}"#, size)),
        ("a line of commas", "/invocations".into(), "text/csv", filled("", ",", "", size)),
        ("a row of commas", "/invocations".into(), "text/csv", filled("Slope\n", ",", "", size)),
        (
            "a shape",
            infer.clone(),
            JSON,
            filled(r#"{"inputs":[{"name":"a","datatype":"FP32","data":[],"shape":["#, "0,", "0]}]}", size),
        ),
        ("inputs of nothing", infer.clone(), JSON, filled(r#"{"inputs":["#, "{},", "{}]}", size)),
        (
            "outputs",
            infer.clone(),
            JSON,
            filled(r#"{"inputs":[],"outputs":["#, r#"{"name":""},"#, r#"{"name":""}]}"#, size),
        ),
        ("parameters", infer, JSON, filled(r#"{"inputs":[],"parameters":{"#, r#""a":1,"#, r#""b":1}}"#, size)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stand_for_much_are_refused_and_take_little() {
    let served = serve(&["--demo"]);
    for size in sizes() {
        let mib = size >> 20;
        for (what, path, kind, body) in bombs(size) {
            for is_gzip in [false, true] {
                print!("{what}, gzip {is_gzip}: ");
                let (status, excess) = excess(&served, &path, kind, &body, is_gzip).await;
                // On a slow machine the deadline may come before the reason.
                assert!((400..500).contains(&status) || status == 504, "{what}, {mib} MiB, gzip {is_gzip}: {status}");
                assert!(excess <= 0, "{what}, {mib} MiB, gzip {is_gzip}: {excess} bytes too many");
            }
        }
    }
}

/// Bodies that are what they should be, in every form.
#[tokio::test(flavor = "multi_thread")]
async fn good_bodies_take_some_times_their_size() {
    // As many rows as come, and time and room for them.
    let demo = BundleFolder::copy_of("demo");
    let limits =
        "[limits]\nrows = 1000000\ndeadline_ms = 60000\nmemory = \"1GiB\"\nhost_call_bytes = \"1GiB\"\n[model]";
    demo.edit_manifest("[model]", limits);
    let served = serve(&["--bundle", demo.path().to_str().expect("UTF-8")]);
    let row = demo_row();
    for size in sizes() {
        // Of the longest form.
        let rows = (size / (row.to_string().len() + 1)).max(1);
        for (path, kind, body) in good_bodies(&row, rows) {
            for is_gzip in [false, true] {
                print!("{path} {kind}, gzip {is_gzip}: ");
                // Compressed, they would be a bomb: each row is as the one before.
                let (status, excess) = excess(&served, &path, kind, body.as_bytes(), is_gzip).await;
                let expected = if is_gzip && body.len() > 1 << 20 { 413 } else { 200 };
                assert_eq!(status, expected, "{path} {kind} {}, gzip {is_gzip}", body.len());
                assert!(excess <= 0, "{path} {kind} {}, gzip {is_gzip}: {excess} bytes too many", body.len());
            }
        }
    }
}

/// So many rows, all the same, in every form.
fn good_bodies(row: &Value, rows: usize) -> Vec<(String, &'static str, String)> {
    let names: Vec<_> = row.as_object().expect("an object").keys().cloned().collect();
    let values: Vec<_> = names.iter().map(|name| row[name].clone()).collect();
    let columns: Value =
        names.iter().zip(&values).map(|(name, value)| (name.clone(), json!(vec![value; rows]))).collect();
    let line: Vec<_> = values.iter().map(ToString::to_string).collect();
    let csv = format!("{}\n{}", names.join(","), format!("{}\n", line.join(",")).repeat(rows));
    let tensors: Vec<_> = names
        .iter()
        .zip(&values)
        .map(|(name, value)| {
            let datatype = if value.is_string() { "BYTES" } else { "FP64" };
            json!({ "name": name, "datatype": datatype, "shape": [rows], "data": vec![value; rows] })
        })
        .collect();
    vec![
        ("/predict?outputs=all".into(), JSON, json!(vec![row; rows]).to_string()),
        (
            "/invocations".into(),
            JSON,
            json!({ "dataframe_split": { "columns": names, "data": vec![values; rows] } }).to_string(),
        ),
        ("/invocations".into(), JSON, json!({ "inputs": columns }).to_string()),
        ("/invocations".into(), "text/csv", csv),
        (format!("/v2/models/{MODEL}/infer"), JSON, json!({ "inputs": tensors }).to_string()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_stand_for_much_are_refused_before_they_are_decoded() {
    let served = serve(&["--demo"]);
    let model = [&[0x0a, MODEL.len() as u8][..], MODEL.as_bytes()].concat();
    let size = 4 << 20;
    for (what, unit, method) in [
        ("inputs", &[0x2a, 0][..], "ModelInfer"),
        ("outputs", &[0x32, 0], "ModelInfer"),
        ("parameters", &[0x22, 0], "ModelInfer"),
        ("raw contents", &[0x3a, 0], "ModelInfer"),
        ("parameters of a load", &[0x1a, 0], "RepositoryModelLoad"),
        ("a name", &[0x0a, 0], "ModelMetadata"),
    ] {
        let message = [&model[..], &unit.repeat(size / unit.len())].concat();
        let before = served.memory("VmRSS");
        served.forget_peak();
        let (status, _) = grpc(&served.address, method, &message, &[]);
        assert_eq!(status, "8", "{what}: RESOURCE_EXHAUSTED");
        let added = served.memory("VmHWM").saturating_sub(before);
        print!("{what}, gRPC: ");
        assert!(beyond(added, message.len()) <= 0, "{what}: {added} bytes");
    }
}
