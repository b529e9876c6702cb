//! Clients that others wrote for other servers, unchanged.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::support::{BundleFolder, Gateway};

/// Runs a script of `tests/py` in one of the environments that `make test` sets up.
pub async fn python(environment: &'static str, arguments: Vec<String>) {
    let python = Path::new("../target").join(environment).join("bin/python");
    let missing = "is missing: run gateway/tests/setup.sh test, or make test, which does";
    assert!(python.exists(), "{} {missing}", python.display());
    let shown = arguments.join(" ");
    let (done, output) = tokio::sync::oneshot::channel::<Output>();
    std::thread::spawn(move || {
        let mut command = Command::new(python);
        // Clients that call home have no business in a test.
        command.args(arguments).env("MLFLOW_DISABLE_TELEMETRY", "true").env("DO_NOT_TRACK", "true");
        done.send(command.output().expect("it runs"))
    });
    let output = output.await.expect("the script ran");
    assert!(
        output.status.success(),
        "{shown}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn client(name: &str) {
    let gateway = Gateway::demo(|args| args.admin_token = Some("s3cret".parse().expect("a token"))).await;
    python("clients-venv", vec!["tests/py/clients.py".into(), gateway.url(""), name.into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triton_http_client() {
    client("triton_http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triton_grpc_client() {
    client("triton_grpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_over_grpc() {
    client("grpc_limits").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_inference_grpc_client() {
    client("open_inference").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve_client() {
    client("kserve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflow_client() {
    client("mlflow").await;
}

/// Requests made up from the document: no answer is a failure of the server, and each is one that the document tells of.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_requests_are_answered_as_documented() {
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let gateway = Gateway::serving(&[iris.path()], |args| args.demo = Some(true)).await;
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let mut arguments: Vec<String> =
        ["../target/clients-venv/bin/schemathesis", "run", "--checks", checks, "--max-examples", "5", "--seed", "1"]
            .map(String::from)
            .into();
    // MLflow's server answers these with a line break, and says that it is JSON.
    arguments.extend(["--exclude-path", "/ping", "--exclude-path", "/health"].map(String::from));
    // What changes the models that are live would change what the others are answered.
    arguments.extend(["--exclude-path-regex", "repository/models"].map(String::from));
    arguments.extend(["--phases".into(), "examples,coverage,fuzzing".into(), gateway.url("/openapi.json")]);
    python("clients-venv", arguments).await;
}

/// The same fitted pipeline behind both.
#[tokio::test(flavor = "multi_thread")]
async fn mlflow_models_serve_answers_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_string_lossy().into_owned();
    let script = "tests/py/beside_mlflow.py";
    python("source-venv", vec![script.into(), "make".into(), place.clone()]).await;
    let gateway = Gateway::serving(&[&folder.path().join("bundle")], |_| {}).await;
    python("source-venv", vec![script.into(), "compare".into(), place, gateway.url("")]).await;
}
