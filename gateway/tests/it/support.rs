//! A real gateway on a free port, and bundles made on the spot.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use modelgate::{app::App, config::ServeArgs, server::Server};
use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// The time that a test waits for something that should happen.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// An HTTP client.
pub fn client() -> Client {
    modelgate::source::http_client().build().expect("a client")
}

/// A client that speaks through a Unix socket.
pub fn operator(socket: &Path) -> Client {
    modelgate::source::http_client().unix_socket(socket.to_owned()).build().expect("a client")
}

/// A running gateway; dropping it drains it.
pub struct Gateway {
    pub address: String,
    pub client: Client,
    /// The state that its handlers share.
    pub app: App,
    /// Where it takes calls that change what is served, if not at `address`.
    pub admin: Option<String>,
    /// For such calls, on its Unix socket.
    pub operator: Client,
    /// With that socket.
    sockets: TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// The binary as a process of its own, with its log in a file; it is killed with the test.
pub struct Process {
    child: Child,
    pub address: String,
    folder: TempDir,
}

impl Process {
    /// `modelgate serve` on a free port, as soon as it listens.
    pub fn serve(args: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_modelgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--max-instances", "32"])
            .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")])
            .args(["--admin-socket", &folder.path().join("admin.sock").display().to_string()])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut first = String::new();
        _ = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first);
        let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let address = address.unwrap_or_else(|| panic!("it does not listen: {first:?}, {}", log()));
        Self { child, address, folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Its Unix socket for operators.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    pub async fn post(&self, path: &str, body: String, headers: &[(&str, &str)]) -> Answer {
        let request =
            client().post(format!("http://{}{path}", self.address)).header("content-type", "application/json");
        read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(body)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// FastAPI's `detail`.
    pub fn detail(&self) -> Value {
        self.json()["detail"].clone()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Two workers, a small pool and a code cache that all tests share.
pub fn args() -> ServeArgs {
    ServeArgs {
        listen: Some(([127, 0, 0, 1], 0).into()),
        workers: NonZeroUsize::new(2),
        io_threads: NonZeroUsize::new(1),
        max_instances: Some(32),
        code_cache: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/code").into()),
        drain_timeout: Some(10),
        binary: Some(env!("CARGO_BIN_EXE_modelgate").into()),
        ..ServeArgs::default()
    }
}

impl Gateway {
    /// The demo with these changes.
    pub async fn demo(change: impl FnOnce(&mut ServeArgs)) -> Self {
        let mut args = ServeArgs { demo: Some(true), ..args() };
        change(&mut args);
        Self::start(args).await
    }

    /// A gateway of the given bundles, the first by default.
    pub async fn serving(bundles: &[&Path], change: impl FnOnce(&mut ServeArgs)) -> Self {
        let mut args = ServeArgs { bundle: bundles.iter().map(|path| path.to_path_buf()).collect(), ..args() };
        change(&mut args);
        Self::start(args).await
    }

    /// A gateway of the given sources, with a cache in `cache`; does not wait until it is ready.
    pub async fn sourcing(sources: &[String], cache: &Path, change: impl FnOnce(&mut ServeArgs)) -> Self {
        let mut args =
            ServeArgs { source: sources.to_vec(), bundle_cache: Some(cache.to_path_buf()), poll: Some(0.2), ..args() };
        change(&mut args);
        Self::start(args).await
    }

    async fn start(mut args: ServeArgs) -> Self {
        let sockets = TempDir::new().expect("a folder");
        let socket = args.admin_socket.get_or_insert_with(|| sockets.path().join("admin.sock").display().to_string());
        let operator = operator(Path::new(socket));
        let server = Server::start(&args.resolve().expect("a configuration")).await.expect("a server");
        let address = server.address().expect("an address").to_string();
        let admin = server.admin_address().map(|address| address.to_string());
        let app = server.app().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { server.run(async move { _ = stopped.await }).await.expect("it serves") });
        Self { address, client: client(), app, admin, operator, sockets, stop: Some(stop), task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where the Unix socket is, unless the test chose another place.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("admin.sock")
    }

    /// Calls that only an operator may make go through the socket.
    fn client_for(&self, path: &str) -> &Client {
        let is_admin = ["/v2/repository/models/", "/v2/repository/sources"].iter().any(|call| path.starts_with(call));
        if is_admin { &self.operator } else { &self.client }
    }

    pub async fn get(&self, path: &str) -> Answer {
        read(self.client_for(path).get(self.url(path))).await
    }

    /// On the port for everyone, whatever the path.
    pub async fn public_post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers
            .iter()
            .fold(self.client.post(self.url(path)), |request, (name, value)| request.header(*name, *value));
        read(request).await
    }

    /// A JSON text to `/predict`.
    pub async fn predict(&self, body: impl Into<String>) -> Answer {
        self.post("/predict", body.into().into_bytes(), &[("content-type", "application/json")]).await
    }

    pub async fn post(&self, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
        let request = headers
            .iter()
            .fold(self.client_for(path).post(self.url(path)), |request, (name, value)| request.header(*name, *value));
        read(request.body(body)).await
    }

    pub async fn method(&self, method: Method, path: &str) -> Answer {
        read(self.client.request(method, self.url(path))).await
    }

    /// The value of one series, by its whole name and labels as Prometheus prints them.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("it is ready", || async { self.get("/v2/health/ready").await.status == 200 }).await;
    }

    /// The state and the reason of a version, as the repository's index tells them.
    pub async fn state(&self, model: &str, version: &str) -> Option<(String, String)> {
        let index = self.post("/v2/repository/index", Vec::new(), &[]).await.json();
        let of = |entry: &&Value| entry["name"] == model && entry["version"] == version;
        let entry = index.as_array().expect("a list").iter().find(of)?.clone();
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        Some((text("state"), text("reason")))
    }

    /// Waits until the index says this of a version, with these words in the reason.
    pub async fn becomes(&self, model: &str, version: &str, state: &str, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.state(model, version).await;
            if now.as_ref().is_some_and(|(found, reason)| found == state && reason.contains(words)) {
                return;
            }
            if Instant::now() >= deadline {
                let sources = self.get("/v2/repository/sources").await.text;
                panic!("{model} {version} is not {state} with {words:?}, but {now:?}; the sources: {sources}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to drain, and does not wait.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has drained.
    pub async fn stopped(mut self) {
        self.stop();
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("drains in time").expect("ends well");
    }
}

async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.expect("text"),
    }
}

/// A message to a method of the inference service: gRPC's status and the message of the answer.
pub fn grpc(address: &str, method: &str, message: &[u8], headers: &[&str]) -> (String, Vec<u8>) {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    let mut curl = Command::new("curl")
        .args(["-s", "-D", "/dev/stderr", "--http2-prior-knowledge", "--data-binary", "@-"])
        .args(["-H", "Content-Type: application/grpc", "-H", "TE: trailers"])
        .args(headers.iter().flat_map(|header| ["-H", header]))
        .arg(format!("http://{address}/inference.GRPCInferenceService/{method}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl");
    curl.stdin.take().expect("piped").write_all(&[&[0], &length[..], message].concat()).expect("sent");
    let output = curl.wait_with_output().expect("an answer");
    let head = String::from_utf8_lossy(&output.stderr).into_owned();
    let status =
        head.lines().find_map(|line| line.strip_prefix("grpc-status: ")).map(|status| status.trim().to_owned());
    (status.unwrap_or(head), output.stdout.get(5..).unwrap_or_default().to_vec())
}

/// Asks again and again until it holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The row that the demo's first golden example shows.
pub fn demo_row() -> Value {
    let golden: Value = serde_json::from_slice(&fs::read("demo/golden.json").expect("the demo")).expect("JSON");
    golden["examples"][0]["input"].clone()
}

/// A module compiled from `modules/`.
pub fn module(name: &str) -> Vec<u8> {
    let path = format!("../modules/dist/{name}.wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run `make modules` first"))
}

/// A module in another language, made by the tests' set-up.
pub fn guest(name: &str) -> Vec<u8> {
    let path = format!("../target/guests/{name}.wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run `gateway/tests/setup.sh test` first"))
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A bundle's folder.
pub struct BundleFolder {
    folder: TempDir,
}

impl BundleFolder {
    /// `unruly` alone, told how to misbehave; `extra` is more of the manifest.
    pub fn unruly(name: &str, config: &str, extra: &str) -> Self {
        Self::custom(name, &module("unruly"), config, extra)
    }

    /// One module alone.
    pub fn custom(name: &str, wasm: &[u8], config: &str, extra: &str) -> Self {
        let this = Self { folder: TempDir::new().expect("a folder") };
        this.write("module.wasm", wasm);
        this.write("config.json", config.as_bytes());
        this.write(
            "bundle.toml",
            format!(
                "format = 1\nname = \"{name}\"\nversion = \"1\"\n[[stage]]\nname = \"only\"\nmodule = \"module.wasm\"\n\
                 sha256 = \"{}\"\nconfig = \"config.json\"\nconfig_sha256 = \"{}\"\n{extra}\n",
                sha256(wasm),
                sha256(config.as_bytes())
            )
            .as_bytes(),
        );
        this
    }

    /// A model invoked as it is, by the builtin module.
    pub fn model_alone(name: &str, onnx: &[u8]) -> Self {
        let this = Self { folder: TempDir::new().expect("a folder") };
        this.write("model.onnx", onnx);
        this.write(
            "bundle.toml",
            format!(
                "format = 1\nname = \"{name}\"\nversion = \"1\"\n[model]\nfile = \"model.onnx\"\nsha256 = \"{}\"\n\
                 [[stage]]\nname = \"predict\"\nmodule = \"builtin:predict\"\n",
                sha256(onnx)
            )
            .as_bytes(),
        );
        this
    }

    /// A copy of one that is committed.
    pub fn copy_of(path: &str) -> Self {
        let this = Self { folder: TempDir::new().expect("a folder") };
        for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{path}: {error}")) {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), this.path().join(entry.file_name())).expect("copied");
        }
        this
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).expect("written");
    }

    /// Replaces a file and its digest in the manifest.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let old = sha256(&fs::read(self.file(name)).expect("there"));
        self.write(name, bytes);
        self.edit_manifest(&old, &sha256(bytes));
    }

    /// Replaces a text in the manifest.
    pub fn edit_manifest(&self, from: &str, to: &str) {
        let manifest = fs::read_to_string(self.file("bundle.toml")).expect("a manifest");
        assert!(manifest.contains(from), "{from} is not in\n{manifest}");
        self.write("bundle.toml", manifest.replace(from, to).as_bytes());
    }
}

/// Why this configuration cannot be served.
pub async fn refusal(bundle: &Path) -> String {
    let args = ServeArgs { bundle: vec![bundle.to_path_buf()], ..args() };
    let error = Server::start(&args.resolve().expect("a configuration")).await.expect_err("a refusal");
    format!("{error:#}")
}
