//! Real servers and the real binary, each on a port and a folder of its own, ended with the test.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::support::{client, operator};

/// Python imports for seconds on a busy machine before a server listens.
const START: Duration = Duration::from_mins(4);

/// A process that ends with the test, and its children with it.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        Self(command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Ends it at once.
    pub fn end(&mut self) {
        // Its group is its own, so nothing else is hit.
        if let Some(group) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that answers each line with some lines of its own, the last of which begins with `= `.
pub struct Conversation {
    _process: Process,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    pub fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let to = process.0.stdin.take().expect("piped");
        let from = BufReader::new(process.0.stdout.take().expect("piped")).lines();
        Self { _process: process, to, from }
    }

    pub fn say(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").expect("it listens");
        loop {
            let answer = self.from.next().unwrap_or_else(|| panic!("{line}: it ended")).expect("text");
            if let Some(answer) = answer.strip_prefix("= ") {
                return answer.to_owned();
            }
        }
    }
}

/// A program of the environment that `gateway/tests/setup.sh` makes.
pub fn python(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/source-venv/bin").join(name);
    assert!(path.exists(), "{} is missing: run `gateway/tests/setup.sh test` first", path.display());
    path
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

async fn until_it_answers(url: &str) {
    let client = client();
    let deadline = Instant::now() + START;
    while client.get(url).send().await.is_err() {
        assert!(Instant::now() < deadline, "nobody answers at {url}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An S3 server with a bucket named `models`.
pub struct S3 {
    pub address: String,
    process: Process,
    client: Client,
}

impl S3 {
    pub async fn start() -> Self {
        let port = free_port();
        let process = Process::start(
            Command::new(python("moto_server"))
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let this = Self { address: format!("127.0.0.1:{port}"), process, client: client() };
        until_it_answers(&this.url("")).await;
        let made = this.client.put(this.url("models")).send().await.expect("an answer");
        assert_eq!(made.status(), StatusCode::OK);
        // Anybody may read it, as buckets with public models are set up.
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::models", "arn:aws:s3:::models/*"],
            }],
        });
        let allowed = this.client.put(this.url("models?policy")).body(policy.to_string()).send().await;
        assert!(allowed.expect("an answer").status().is_success());
        this
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The address that a gateway is given: this bucket and prefix, without credentials.
    pub fn source(&self, prefix: &str) -> String {
        source_at(&self.address, prefix)
    }

    /// A request of somebody who may do everything: the server does not check whose signature it is.
    pub fn signed(&self, method: Method, path: &str) -> RequestBuilder {
        let signed =
            "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        self.client.request(method, self.url(path)).header("authorization", signed)
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        // The server wants a signature of a client that writes over an object.
        let put = self.signed(Method::PUT, &format!("models/{key}")).body(bytes).send().await.expect("an answer");
        assert_eq!(put.status(), StatusCode::OK);
    }

    pub async fn has(&self, key: &str) -> bool {
        // The server lets nobody ask for the head alone whom only the bucket's policy lets in.
        self.client.get(self.url(&format!("models/{key}"))).send().await.expect("an answer").status() == StatusCode::OK
    }

    pub fn end(mut self) {
        self.process.end();
    }
}

pub fn source_at(address: &str, prefix: &str) -> String {
    format!("store=s3://models/{prefix}?endpoint=http://{address}&anonymous=true")
}

/// The variables of a client of the server at this address.
pub fn with_s3<'a>(command: &'a mut Command, s3: &S3) -> &'a mut Command {
    with_s3_at(command, &s3.address)
}

fn with_s3_at<'a>(command: &'a mut Command, address: &str) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("MLFLOW_S3_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test-secret")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        // Seven more processes, for jobs that nobody here has.
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
}

/// The binary with these arguments, to its end.
pub fn modelgate(s3: &S3, args: &[&str]) -> Output {
    modelgate_at(&s3.address, args)
}

/// The same where S3 is reached at another address.
pub fn modelgate_at(address: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    let command = with_s3_at(&mut command, address).args(args);
    tokio::task::block_in_place(|| command.output()).expect("the binary runs")
}

/// The binary serving, with what it needs in its environment.
pub struct Served {
    pub address: String,
    /// For calls that change what is served, on its Unix socket.
    pub operator: Client,
    process: Process,
}

impl Served {
    pub fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let first = lines.next().expect("a line");
        let address =
            first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
        let socket = lines.find_map(|line| line.strip_prefix("  admin    ").map(PathBuf::from)).expect("a socket");
        Self { address, operator: operator(&socket), process }
    }

    /// A line of what the system tells of it, in bytes: `VmRSS` for its resident memory, `VmHWM` for the most it ever had.
    pub fn memory(&self, what: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kib: usize = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number");
        kib << 10
    }

    /// Begins to count anew what [`memory`](Self::memory) tells as `VmHWM`.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.0.id()), "5").expect("one's own process");
    }
}

/// An MLflow tracking server whose artifacts are in that bucket, behind its proxy unless an experiment says otherwise.
pub struct Mlflow {
    pub url: String,
    _process: Process,
}

/// The account that may ask a server everything, by a password that an address cannot have as it is.
pub const ADMIN: (&str, &str) = ("admin", "password@of/the:tests");
pub const ADMIN_IN_ADDRESS: &str = "admin:password%40of%2Fthe%3Atests";

impl Mlflow {
    pub async fn start(s3: &S3, folder: &Path) -> Self {
        Self::start_with(s3, folder, |_| {}).await
    }

    /// One that asks for a name and a password: [`ADMIN`]'s.
    pub async fn start_with_accounts(s3: &S3, folder: &Path) -> Self {
        let settings = folder.join("accounts.ini");
        let (name, password) = ADMIN;
        let text = format!(
            "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{}/accounts.db\nadmin_username = {name}\n\
             admin_password = {password}\n\
             authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            folder.display()
        );
        std::fs::write(&settings, text).expect("written");
        Self::start_with(s3, folder, |command| {
            command
                .args(["--app-name", "basic-auth"])
                .env("MLFLOW_AUTH_CONFIG_PATH", &settings)
                .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "of the tests");
        })
        .await
    }

    async fn start_with(s3: &S3, folder: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let port = free_port().to_string();
        let mut command = Command::new(python("mlflow"));
        with_s3(&mut command, s3)
            .args(["server", "--host", "127.0.0.1", "--port", &port, "--workers", "1", "--serve-artifacts"])
            .args(["--artifacts-destination", "s3://models/proxied"])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}/mlflow.db", folder.display()))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        change(&mut command);
        let this = Self { url: format!("http://127.0.0.1:{port}"), _process: Process::start(&mut command) };
        until_it_answers(&format!("{}/health", this.url)).await;
        this
    }
}
