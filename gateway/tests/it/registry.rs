//! Access to the registry, and the ways of naming a version in it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    real::{ADMIN, ADMIN_IN_ADDRESS, Conversation, Mlflow, S3, Served, python, with_s3},
    support::{Gateway, client, eventually},
};

/// A registry with its artifacts in a bucket, and somebody who trains models.
pub struct Registry {
    pub s3: S3,
    pub mlflow: Mlflow,
    person: Conversation,
    _folder: TempDir,
}

impl Registry {
    pub async fn start() -> Self {
        let (folder, s3) = (TempDir::new().expect("a folder"), S3::start().await);
        let mlflow = Mlflow::start(&s3, folder.path()).await;
        Self::of(s3, mlflow, folder)
    }

    async fn start_with_accounts() -> Self {
        let (folder, s3) = (TempDir::new().expect("a folder"), S3::start().await);
        let mlflow = Mlflow::start_with_accounts(&s3, folder.path()).await;
        Self::of(s3, mlflow, folder)
    }

    fn of(s3: S3, mlflow: Mlflow, folder: TempDir) -> Self {
        let mut command = Command::new(python("python"));
        with_s3(&mut command, &s3)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/registry.py"))
            .env("MLFLOW_TRACKING_URI", &mlflow.url)
            .env("MLFLOW_TRACKING_USERNAME", ADMIN.0)
            .env("MLFLOW_TRACKING_PASSWORD", ADMIN.1)
            .env("GIT_PYTHON_REFRESH", "quiet");
        let person = Conversation::start(&mut command);
        Self { s3, mlflow, person, _folder: folder }
    }

    /// A command for `registry.py`; gives the version it answers with.
    pub fn script(&mut self, command: &str) -> String {
        tokio::task::block_in_place(|| self.person.say(command))
    }
}

/// The binary, about to serve from a registry.
fn serving(tracking: &str, cache: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command
        .args(["serve", "--poll", "0.2", "--listen", "127.0.0.1:0", "--workers", "1", "--max-instances", "16"])
        .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")])
        .arg("--bundle-cache")
        .arg(cache.path())
        .env("MLFLOW_TRACKING_URI", tracking)
        .stderr(Stdio::null());
    command
}

/// A gateway that follows `churn@champion` of this registry, with these variables.
fn follow(tracking: &str, cache: &TempDir, variables: &[(&str, &str)]) -> Served {
    let mut command = serving(tracking, cache);
    Served::start(command.args(["--source", "churn=models:/churn@champion"]).envs(variables.iter().copied()))
}

async fn source_becomes(operator: &Client, address: &str, state: &str) {
    eventually(&format!("the registry is {state}"), || async {
        let sources = operator.get(format!("http://{address}/v2/repository/sources")).send().await.expect("an answer");
        sources.json::<Value>().await.expect("JSON")["sources"][0]["state"] == state
    })
    .await;
    let up = format!("modelgate_source_up{{source=\"churn\"}} {}", u8::from(state == "ok"));
    let metrics = client().get(format!("http://{address}/metrics")).send().await.expect("an answer");
    assert!(metrics.text().await.expect("text").contains(&up), "{up}");
}

async fn answers(client: &Client, address: &str, prediction: &str) {
    let row = json!({ "age": 30, "plan": "basic", "model": "churn" });
    eventually(prediction, || async {
        let answer = client.post(format!("http://{address}/predict")).json(&row).send().await.expect("an answer");
        answer.status() == StatusCode::OK
            && answer.json::<Value>().await.expect("JSON") == json!({ "prediction": prediction })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_accounts_is_read_with_the_right_password_only() {
    let mut registry = Registry::start_with_accounts().await;
    assert_eq!(registry.script("train churn a --alias champion"), "1");
    let (client, url) = (client(), registry.mlflow.url.clone());
    for variables in
        [&[][..], &[("MLFLOW_TRACKING_USERNAME", ADMIN.0), ("MLFLOW_TRACKING_PASSWORD", "not the password")][..]]
    {
        let cache = TempDir::new().expect("a folder");
        let served = follow(&url, &cache, variables);
        source_becomes(&served.operator, &served.address, "denied").await;
        let ready = client.get(format!("http://{}/v2/health/ready", served.address)).send().await.expect("an answer");
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let cache = TempDir::new().expect("a folder");
    // The token is not sent then, as MLflow's own client does not.
    let right = [
        ("MLFLOW_TRACKING_USERNAME", ADMIN.0),
        ("MLFLOW_TRACKING_PASSWORD", ADMIN.1),
        ("MLFLOW_TRACKING_TOKEN", "of another server"),
    ];
    let served = follow(&url, &cache, &right);
    answers(&client, &served.address, "leaves-a").await;
    source_becomes(&served.operator, &served.address, "ok").await;
    // In the address, as people write it.
    let cache = TempDir::new().expect("a folder");
    let served = follow(&url.replace("://", &format!("://{ADMIN_IN_ADDRESS}@")), &cache, &[]);
    answers(&client, &served.address, "leaves-a").await;
}

/// Every call to the registry, and to the artifacts behind it, has the token that its proxy wants.
async fn is_read_with_a_token(registry: &Registry) {
    let (client, wire) = (client(), Wire::to(registry.mlflow.url.trim_start_matches("http://")).await);
    wire.fail(Fault::refusal(401, "Unauthorized").unless("\r\nauthorization: bearer token-of-the-tests\r\n"));
    let url = format!("http://{}", wire.address);
    let cache = TempDir::new().expect("a folder");
    let served = follow(&url, &cache, &[("MLFLOW_TRACKING_TOKEN", "another-token")]);
    source_becomes(&served.operator, &served.address, "denied").await;
    drop(served);
    let served = follow(&url, &cache, &[("MLFLOW_TRACKING_TOKEN", "token-of-the-tests")]);
    answers(&client, &served.address, "leaves-a").await;
    source_becomes(&served.operator, &served.address, "ok").await;
}

/// A graph alone, with weights in a file beside it, whose model has a name that is more than a word.
async fn is_served_whatever_its_name(registry: &mut Registry) {
    assert_eq!(registry.script("heavy \"a quo'te\" best"), "1");
    let (client, tracking) = (client(), registry.mlflow.url.clone());
    let row = json!({ "x": vec![1.0; 400], "model": "a quo'te" });
    let cache = TempDir::new().expect("a folder");
    let by_flag = Served::start(serving(&tracking, &cache).args(["--source", "models:/a quo'te/Latest"]));
    let by_variable = "churn=models:/churn@champion models:/a%20quo'te@best";
    let cache = TempDir::new().expect("a folder");
    let by_variable = Served::start(serving(&tracking, &cache).env("MODELGATE_SOURCE", by_variable));
    for address in [&by_flag.address, &by_variable.address] {
        eventually("its weights are used", || async {
            let answer = client.post(format!("http://{address}/predict")).json(&row).send().await.expect("an answer");
            let answer = answer.json::<Value>().await.expect("JSON");
            answer["prediction"][0].as_f64().is_some_and(|sum| (sum - 239.4).abs() < 0.01)
        })
        .await;
    }
    answers(&client, &by_variable.address, "leaves-a").await;
    // Names that differ stay different, letters beyond ASCII included.
    let names = ["a b", "a_b", "模型一", "模型二"];
    for name in names {
        assert_eq!(registry.script(&format!("bare \"{name}\" best")), "1");
    }
    let cache = TempDir::new().expect("a folder");
    let sources: Vec<_> = names.iter().map(|name| format!("models:/{name}@best?tracking={tracking}")).collect();
    let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
    for name in names {
        gateway.becomes(name, "1", "READY", "").await;
        let mut url = reqwest::Url::parse(&gateway.url("/v2/models")).expect("a URL");
        url.path_segments_mut().expect("segments").push(name);
        let told = gateway.client.get(url).send().await.expect("an answer").json::<Value>().await.expect("JSON");
        assert_eq!(told["name"], name, "{told}");
    }
    assert_eq!(gateway.get("/v1/models").await.json()["models"], json!(names));
    // The weights count, too.
    let cache = TempDir::new().expect("a folder");
    let source = format!("models:/a quo'te/01?tracking={tracking}");
    let gateway = Gateway::sourcing(&[source], cache.path(), |args| args.max_bundle = Some("2KiB".into())).await;
    gateway.becomes("a quo'te", "1", "UNAVAILABLE", ".data: too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_found_by_its_alias_its_number_its_stage_and_as_the_latest() {
    let mut registry = Registry::start().await;
    let tracking = registry.mlflow.url.clone();
    assert_eq!(registry.script("train churn a --alias champion"), "1");
    is_read_with_a_token(&registry).await;
    is_served_whatever_its_name(&mut registry).await;
    assert_eq!(registry.script("train churn b"), "2");
    registry.script("stage churn Production 1");
    let serve = async |version: &str| {
        let cache = TempDir::new().expect("a folder");
        let source = format!("churn=models:/churn/{version}?tracking={tracking}");
        (Gateway::sourcing(&[source], cache.path(), |_| {}).await, cache)
    };
    let (by_number, by_stage, latest) = (serve("1").await, serve("Production").await, serve("latest").await);
    answers(&client(), &by_number.0.address, "leaves-a").await;
    answers(&client(), &by_stage.0.address, "leaves-a").await;
    answers(&client(), &latest.0.address, "leaves-b").await;
    // Another version gets the stage, and a newer one comes.
    registry.script("stage churn Production 2");
    answers(&client(), &by_stage.0.address, "leaves-b").await;
    assert_eq!(registry.script("train churn c"), "3");
    answers(&client(), &latest.0.address, "leaves-c").await;
    answers(&client(), &by_stage.0.address, "leaves-b").await;
    answers(&client(), &by_number.0.address, "leaves-a").await;
    // A stage that no version has.
    let nobody = serve("Staging").await.0;
    source_becomes(&nobody.operator, &nobody.address, "missing").await;
}
