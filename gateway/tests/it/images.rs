//! Pictures in, pixels and scores out: against Pillow and ONNX Runtime (`tests/data/make_images.py`), over each surface that
//! takes a file.

use std::{fs, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, BundleFolder, Gateway, sha256};

const IMAGES: &str = "tests/data/images";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn reference() -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{IMAGES}/reference.json")).expect("committed")).expect("JSON")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn file(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().expect("text")).expect("base64")
}

/// `builtin:image` alone.
fn pixels(name: &str, config: &Value) -> BundleFolder {
    let folder = BundleFolder::custom(name, b"", &config.to_string(), "");
    folder.edit_manifest(&format!("sha256 = \"{}\"\nconfig =", sha256(b"")), "config =");
    folder.edit_manifest("module.wasm", "builtin:image");
    folder
}

/// A request of files in binary, which asks for binary.
async fn infer(gateway: &Gateway, model: &str, files: &[&[u8]]) -> (u16, Value, Vec<u8>) {
    let length = |file: &[u8]| u32::try_from(file.len()).expect("short").to_le_bytes();
    let blob: Vec<u8> = files.iter().flat_map(|file| [&length(file)[..], file].concat()).collect();
    let input = json!({ "name": "image", "shape": [files.len()], "datatype": "BYTES",
        "parameters": { "binary_data_size": blob.len() } });
    let head = json!({ "inputs": [input], "parameters": { "binary_data_output": true } }).to_string().into_bytes();
    let request = gateway
        .client
        .post(gateway.url(&format!("/v2/models/{model}/infer")))
        .header("inference-header-content-length", head.len().to_string())
        .body([head, blob].concat());
    let response = request.send().await.expect("an answer");
    let json = response.headers().get("inference-header-content-length").cloned();
    let (status, body) = (response.status().as_u16(), response.bytes().await.expect("a body"));
    let json = json.map_or(body.len(), |length| length.to_str().expect("text").parse().expect("a number"));
    (status, serde_json::from_slice(&body[..json]).expect("JSON"), body[json..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_are_those_of_pillow() {
    let reference = reference();
    let bundle = pixels("pixels", &json!({ "dtype": "u8", "layout": "nhwc" }));
    let gateway = Gateway::serving(&[bundle.path()], |_| ()).await;
    for case in list(&reference["files"]) {
        let name = &case["name"];
        let (status, head, samples) = infer(&gateway, "pixels", &[&file(&case["file"])]).await;
        assert_eq!(status, 200, "{name}: {head}");
        let mut shape = vec![json!(1)];
        shape.extend(list(&case["shape"]).cloned());
        assert_eq!(head["outputs"][0]["shape"], json!(shape), "{name}");
        assert_eq!(sha256(&samples), case["sha256"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_are_those_of_torchvisions_steps() {
    for (place, case) in list(&reference()["tensors"]).enumerate() {
        let name = format!("case-{place}");
        let bundle = pixels(&name, &case["config"]);
        let gateway = Gateway::serving(&[bundle.path()], |_| ()).await;
        let file = file(&case["file"]);
        let (status, head, tensor) = infer(&gateway, &name, &[&file, &file]).await;
        assert_eq!(status, 200, "{head}");
        let (one, other) = tensor.split_at(tensor.len() / 2);
        assert_eq!(
            (sha256(one), one),
            (case["sha256"].as_str().expect("text").to_owned(), other),
            "{}",
            case["config"]
        );
    }
}

fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--cut--\r\n");
    body
}

async fn upload(gateway: &Gateway, path: &str, fields: &[(&str, &[u8])]) -> Answer {
    gateway.post(path, form(fields), &[("content-type", "multipart/form-data; boundary=cut")]).await
}

fn close(got: &Value, expected: &Value) {
    let floats = |value: &Value| list(value).map(|value| value.as_f64().expect("a number")).collect::<Vec<_>>();
    let (got, expected) = (floats(got), floats(expected));
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{got} {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_network_answers_on_every_surface() {
    let reference = reference();
    let folder = TempDir::new().expect("a folder");
    let (config, out) = (folder.path().join("config.json"), folder.path().join("bundle"));
    fs::write(&config, reference["config"].to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command.arg("wrap").arg(format!("{IMAGES}/network.onnx")).arg(&out).args(["--image".as_ref(), config.as_os_str()]);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let gateway = Gateway::serving(&[&out], |_| ()).await;
    for case in list(&reference["answers"]) {
        let (name, scores) = (&case["name"], &case["scores"]);
        let found = list(&reference["files"]).find(|file| file["name"] == *name).expect("such a file");
        let (text, bytes) = (&found["file"], file(&found["file"]));
        for value in [
            text.clone(),
            json!({ "b64": text }),
            json!(format!("data:image/x;base64,{}", text.as_str().expect("text"))),
        ] {
            let answer = gateway.predict(json!({ "image": value }).to_string()).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            close(&answer.json()["prediction"], scores);
        }
        let answer = upload(&gateway, "/predict", &[("image", &bytes)]).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        close(&answer.json()["prediction"], scores);
        let answer = upload(&gateway, "/predict/network", &[("image", &bytes), ("image", &bytes)]).await;
        close(&answer.json()["predictions"][1], scores);

        let tensor = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [text] });
        let body = json!({ "inputs": [tensor] }).to_string().into_bytes();
        let answer = gateway.post("/v2/models/network/infer", body, &JSON).await;
        close(&answer.json()["outputs"][0]["data"], scores);
        let (status, head, tensor) = infer(&gateway, "network", &[&bytes]).await;
        assert_eq!(status, 200, "{name}: {head}");
        let floats: Vec<f32> = tensor.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        close(&json!(floats), scores);
        let body = json!({ "instances": [{ "b64": text }] }).to_string().into_bytes();
        let answer = gateway.post("/v1/models/network:predict", body, &JSON).await;
        close(&answer.json()["predictions"][0], scores);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_the_callers_fault() {
    let reference = reference();
    let of = |name: &str| file(&list(&reference["files"]).find(|file| file["name"] == name).expect("a file")["file"]);
    let bundle = pixels("pixels", &json!({ "resize": { "width": 8, "height": 8 } }));
    let gateway = Gateway::serving(&[bundle.path()], |_| ()).await;
    let good = of("gray.jpg");
    let start = |file: &[u8], marker| file.windows(2).position(|pair| pair == [0xff, marker]).expect("a frame");
    // 65,535 pixels wide and 500 high: allowed by themselves, and no memory for the coefficients of a progressive file.
    let mut huge = of("37x29-444-progressive.jpg");
    let frame = start(&huge, 0xc2);
    huge[frame + 5..frame + 9].copy_from_slice(&[0x01, 0xf4, 0xff, 0xff]);
    let mut bomb = good.clone();
    let frame = start(&bomb, 0xc0);
    bomb[frame + 5..frame + 9].fill(0xff);
    for (bad, expected) in [
        (b"GIF89a".to_vec(), "expected a picture as PNG, JPEG or WebP"),
        (good[..good.len() / 2].to_vec(), "the file ends before its pixels do"),
        (of("37x29.png")[..200].to_vec(), "the file ends before its pixels do"),
        (of("37x29.webp")[..100].to_vec(), ""),
        (huge, "bytes of memory are not free"),
        (bomb, "expected at most 33554432 pixels, got 65535 x 65535"),
        (Vec::new(), "expected a picture"),
    ] {
        let answer = upload(&gateway, "/predict", &[("image", &good), ("image", &bad)]).await;
        assert_eq!(answer.status, 422, "{expected}: {}", answer.text);
        let detail = answer.detail();
        assert_eq!(detail[0]["loc"], json!(["body", 1, "image"]), "{detail}");
        assert!(detail[0]["msg"].as_str().expect("text").contains(expected), "{expected}: {detail}");
    }
    let answer = upload(&gateway, "/predict", &[("image", &good)]).await;
    assert_eq!(answer.status, 200, "the instance goes on: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_read_as_rows() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = crate::support::demo_row();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes();
    let fields: Vec<_> =
        row.as_object().expect("an object").iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
    let expected = gateway.predict(row.to_string()).await.json();
    assert_eq!(upload(&gateway, "/predict", &fields).await.json(), expected);
    let answer = upload(&gateway, "/predict", &[("nothing", b"1")]).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let cut = [("content-type", "multipart/form-data; boundary=cut")];
    for body in [b"--cut\r\n".to_vec(), b"{}".to_vec(), Vec::new()] {
        let answer = gateway.post("/predict", body, &cut).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
}
