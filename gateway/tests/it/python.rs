//! Modules in Python and TypeScript, made by `modelgate-module` in the tests' set-up (`tests/setup.sh`) and run by the real gateway.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{BundleFolder, Gateway, demo_row, eventually, guest, sha256};

const LIMITS: &str = "[limits]\nmemory = \"64MiB\"\ndeadline_ms = 2000";

fn ask(model: &str, act: &str) -> String {
    json!({ "model": model, "act": act, "x": 1.5, "pair": [1, -2], "note": null, "count": 0 }).to_string()
}

/// The answer of `guest.py` where it is told to do nothing else.
fn answer() -> Value {
    json!({ "prediction": 1.5, "outputs": { "y": 1.5, "pair": [2.0, -4.0], "note": null, "count": -1 } })
}

/// A bundle of `guest.py`, with a model that it may call.
fn bundle(name: &str, isolation: &str) -> BundleFolder {
    let onnx = fs::read("tests/data/models/input_float64.onnx").expect("a model");
    let extra = format!(
        "{LIMITS}\n[run]\nisolation = \"{isolation}\"\n[model]\nfile = \"model.onnx\"\nsha256 = \"{}\"",
        sha256(&onnx)
    );
    let folder = BundleFolder::custom(name, &guest("guest"), "{}", &extra);
    folder.write("model.onnx", &onnx);
    folder
}

async fn misbehaves(gateway: &Gateway, name: &str) {
    for (act, status, words) in [
        ("error", 500, "internal error"),
        ("model-error", 500, "internal error"),
        ("wrong", 500, "internal error"),
        ("open", 500, "internal error"),
        ("clock", 500, "internal error"),
        ("import-unknown", 500, "internal error"),
        ("exit", 500, "internal error"),
        ("now", 500, "unreachable"),
        ("loop", 504, "2000 ms"),
        ("allocate", 500, ""),
        ("recurse", 500, ""),
    ] {
        let refused = gateway.predict(ask(name, act)).await;
        assert_eq!(refused.status, status, "{act} in {name}: {}", refused.text);
        assert!(refused.text.contains(words), "{act} in {name}: {}", refused.text);
        let good = gateway.predict(ask(name, "")).await;
        assert_eq!(good.json(), json!({ "prediction": 1.5 }), "after {act} in {name}");
        let mut neighbour = demo_row();
        neighbour["model"] = "modelo_covertype_vf".into();
        assert_eq!(gateway.predict(neighbour.to_string()).await.json(), json!({ "prediction": 2 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_in_python_answers_and_what_goes_wrong_is_its_own() {
    let (kept, fresh) = (bundle("kept", "worker"), bundle("fresh", "request"));
    let model = BundleFolder::model_alone("alone", &fs::read("tests/data/models/input_float64.onnx").expect("a model"));
    let gateway = Gateway::serving(&[kept.path(), fresh.path(), model.path()], |args| args.demo = Some(true)).await;
    let headers = [("content-type", "application/json")];
    let scores = gateway
        .post("/predict/alone?outputs=all", json!({ "x": [1.5, 1.5, 1.5, 1.5] }).to_string().into_bytes(), &headers)
        .await
        .json();
    for name in ["kept", "fresh"] {
        let all = gateway.post("/predict?outputs=all", ask(name, "").into_bytes(), &headers).await;
        assert_eq!(all.json(), answer(), "{name}");
        // Imported within its function, and what the standard library imports when it is first used.
        assert_eq!(gateway.predict(ask(name, "import")).await.json(), json!({ "prediction": 1.5 }));
        assert_eq!(gateway.predict(ask(name, "date")).await.json(), json!({ "prediction": 28.0 }));
        for quiet in ["print", "log"] {
            assert_eq!(gateway.predict(ask(name, quiet)).await.json(), json!({ "prediction": 1.5 }));
        }
        // The model is called by name, and gives what it gives by itself.
        let called = gateway.predict(ask(name, "model")).await.json();
        let (got, expected) = (&called["prediction"], &scores["outputs"]["scores"][0]);
        let near = |got: f64, expected: f64| (got - expected).abs() < 1e-6;
        assert!(near(got.as_f64().expect("a number"), expected.as_f64().expect("a number")), "{called} {scores}");

        // A batch: the second row's text is refused where it stands.
        let row = |act: &str, x: f64, note: Value| json!({ "act": act, "x": x, "pair": [x, 0], "note": note, "count": 5, "model": name });
        let body = json!([row("", 1.0, json!("añb")), row("", 2.0, Value::Null), row("", 3.0, json!(""))]);
        let batch = gateway.post("/predict?outputs=all", body.to_string().into_bytes(), &headers).await.json();
        assert_eq!(batch["predictions"], json!([1.0, 2.0, 3.0]), "{batch}");
        assert_eq!(batch["outputs"]["note"], json!(["añb", null, ""]), "{batch}");
        assert_eq!(batch["outputs"]["pair"], json!([[2.0, 0.0], [4.0, 0.0], [6.0, 0.0]]), "{batch}");
        let body = json!([row("", 1.0, Value::Null), row("invalid", 2.0, Value::Null)]);
        let refused = gateway.predict(body.to_string()).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert_eq!(refused.detail()[0]["loc"], json!(["body", 1, "x"]), "{}", refused.text);
        assert_eq!(refused.detail()[0]["msg"], "asked to refuse it");
        misbehaves(&gateway, name).await;
    }
    // A fresh instance starts where `init` left it.
    for _ in 0..3 {
        assert_eq!(gateway.predict(ask("fresh", "remember")).await.json(), json!({ "prediction": 1.0 }));
    }
    gateway.stopped().await;
}

/// Ends the server with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A folder with a command that stands before all others on the path.
fn modelgate(args: &[&str], folder: &TempDir) -> Output {
    let python = fs::canonicalize("../target/module-venv/bin").expect("the tests' set-up made it");
    let path = format!("{}:{}", python.display(), std::env::var_os("PATH").unwrap_or_default().display());
    Command::new(env!("CARGO_BIN_EXE_modelgate"))
        .args(args)
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("VIRTUAL_ENV")
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_new_module_is_tested_as_its_readme_says() {
    let folder = TempDir::new().expect("a folder");
    let output = modelgate(&["module", "new", "--lang", "python", "mine"], &folder);
    assert!(output.status.success() && text(&output.stdout).contains("mine/mine.py"), "{}", text(&output.stderr));
    let again = modelgate(&["module", "new", "--lang", "python", "mine"], &folder);
    assert!(!again.status.success() && text(&again.stderr).contains("there already"), "{}", text(&again.stderr));
    let output = modelgate(&["module", "test", "mine"], &folder);
    assert!(output.status.success() && text(&output.stdout).contains("2 passed"), "{}", text(&output.stdout));
    // What cannot run there is told before anything is made.
    fs::write(folder.path().join("mine/bad.py"), "import sqlite3\nfrom modelgate_module import f64, module\n\n@module(inputs={\"x\": f64}, outputs={\"y\": f64})\ndef row(r):\n    return r[\"x\"]\n").expect("written");
    let output = modelgate(&["module", "build", "mine/bad.py"], &folder);
    let told = text(&output.stderr);
    assert!(!output.status.success() && told.contains("bad.py:1: 'sqlite3' is not in the sandbox"), "{told}");
}

#[test]
fn a_missing_tool_is_named_with_what_to_install() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("mine.py"), "").expect("written");
    fs::write(folder.path().join("mine.js"), "").expect("written");
    for (file, words) in
        [("mine.py", "pip install modules/python"), ("mine.js", "npm install --save-dev modules/javascript")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_modelgate"))
            .args(["module", "build", file])
            .current_dir(&folder)
            .env("PATH", "")
            .env_remove("VIRTUAL_ENV")
            .output()
            .expect("the binary runs");
        let told = text(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{told}");
    }
}

/// The example as its README has it, with its golden examples and its line in the log.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_python_is_served_and_logs() {
    let visits = BundleFolder::copy_of("../modules/examples/visits");
    let wasm = guest("visits");
    visits.write("visits.wasm", &wasm);
    visits.edit_manifest(&"0".repeat(64), &sha256(&wasm));
    let log = visits.file("log");
    let child = Command::new(env!("CARGO_BIN_EXE_modelgate"))
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--bundle"])
        .arg(visits.path())
        .env("MODELGATE_CODE_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/code"))
        .env("MODELGATE_BUNDLE_CACHE", visits.file("cache"))
        .stdout(fs::File::create(visits.file("out")).expect("a file"))
        .stderr(fs::File::create(&log).expect("a file"))
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let _served = Served(child);
    let read = |name: &str| fs::read_to_string(visits.file(name)).unwrap_or_default();
    eventually("it listens", || async { read("out").contains("metrics") }).await;
    let out = read("out");
    let address = out.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let client = crate::support::client();
    let ask = |body: Value| {
        let request =
            client.post(format!("http://{address}/predict?outputs=all")).header("content-type", "application/json");
        let request = request.body(body.to_string());
        async move {
            let response = request.send().await.expect("an answer");
            let text = response.text().await.expect("text");
            serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        }
    };
    let found = ask(json!({ "age": 70, "city": "Bogotá" })).await;
    assert_eq!(found["outputs"], json!({ "band": 2, "city": "bogota", "is_known": 1 }), "{found}");
    let found = ask(json!({ "age": 30, "city": "Paris" })).await;
    assert_eq!(found["outputs"], json!({ "band": 1, "city": "other", "is_known": 0 }), "{found}");
    let refused =
        ask(json!([{ "age": 30, "city": null }, { "age": 200, "city": null }, { "age": -1, "city": null }])).await;
    let places: Vec<_> =
        refused["detail"].as_array().expect("problems").iter().map(|problem| &problem["loc"]).collect();
    assert_eq!(json!(places), json!([["body", 1, "age"], ["body", 2, "age"]]), "{refused}");
    eventually("the log has the module's line", || async { read("log").contains("unknown city: paris") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_typescript_is_served() {
    let double = BundleFolder::custom("double", &guest("double"), r#"{"limit": 10}"#, "");
    let gateway = Gateway::serving(&[double.path()], |_| {}).await;
    let headers = [("content-type", "application/json")];
    let ask = |body: Value| gateway.post("/predict?outputs=all", body.to_string().into_bytes(), &headers);
    let found = ask(json!({ "x": 3, "unit": null, "count": 5 })).await.json();
    let expected = json!({ "y": 6.0, "isLarge": false, "label": "6 units", "count": 4 });
    assert_eq!(found["outputs"], expected, "{found}");
    let found =
        ask(json!([{ "x": 3, "unit": "cm", "count": 5 }, { "x": 30.5, "unit": "añ", "count": -5 }])).await.json();
    let expected = json!({ "y": [6.0, 61.0], "isLarge": [false, true], "label": ["6 cm", "61 añ"], "count": [4, -6] });
    assert_eq!(found["outputs"], expected, "{found}");
    let refused = ask(json!([{ "x": 3, "unit": "cm", "count": 5 }, { "x": -1, "unit": "cm", "count": 5 }])).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(refused.detail()[0]["loc"], json!(["body", 1, "x"]), "{}", refused.text);
    assert_eq!(ask(json!({ "x": 1, "unit": null, "count": 0 })).await.status, 200);
}
