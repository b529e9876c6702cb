//! Rules that hold whatever a bundle or a source does: the operator's ceilings, no way out of a folder, nothing that a
//! process died of loaded twice.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use modelgate::wasm::module::Isolation;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    flowers::{flowers, place, row},
    real::{Served, source_at},
    support::{BundleFolder, Gateway, PATIENCE, client, eventually, operator, refusal},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_over_a_ceiling_is_refused_with_the_setting() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    for (name, limit) in [
        ("slow", "deadline_ms = 60000"),
        ("wide", "rows = 200000"),
        ("large", "memory = \"1GiB\""),
        ("busy", "host_call_bytes = \"1024GiB\""),
    ] {
        let bundle = flowers(name, "1");
        let manifest = fs::read_to_string(bundle.file("bundle.toml")).expect("a manifest");
        bundle.write("bundle.toml", format!("{manifest}\n[limits]\n{limit}\n").as_bytes());
        place(&bundle, &root.path().join(name));
    }
    place(&flowers("iris", "1"), &root.path().join("iris"));
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |args| {
        args.max_deadline = Some(10_000.try_into().expect("not zero"));
        args.max_rows = Some(100_000.try_into().expect("not zero"));
        args.max_module_memory = Some("512MiB".into());
    })
    .await;
    gateway.becomes("slow", "1", "UNAVAILABLE", "--max-deadline").await;
    gateway.becomes("wide", "1", "UNAVAILABLE", "--max-rows").await;
    gateway.becomes("large", "1", "UNAVAILABLE", "--max-module-memory").await;
    // Without a setting there is a ceiling, too.
    gateway.becomes("busy", "1", "UNAVAILABLE", "--max-host-call-bytes").await;
    gateway.becomes("iris", "1", "READY", "").await;
}

/// Values that a module keeps of a request are gone with it, whatever its bundle says.
#[tokio::test(flavor = "multi_thread")]
async fn under_the_floor_every_request_has_instances_of_its_own() {
    let hoards = || BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "[limits]\nmemory = \"16MiB\"");
    for (floor, isolation) in [(None, "worker"), (Some(Isolation::Request), "request")] {
        let unruly = hoards();
        let gateway = Gateway::serving(&[unruly.path()], |args| args.isolation_floor = floor).await;
        let mut kept = false;
        for _ in 0..30 {
            let hoard = json!({ "x": 1.5, "act": "hoard" });
            kept |= gateway.predict(hoard.to_string()).await.status != 200;
        }
        assert_eq!(kept, isolation == "worker");
        let metadata = gateway.get("/v2/models/unruly").await.json();
        assert_eq!(metadata["properties"]["isolation"], isolation, "{metadata}");
        let config = gateway.get("/v2/models/unruly/config").await.json();
        assert_eq!(config["parameters"]["isolation"]["string_value"], isolation);
    }
    let unruly = hoards();
    let told = check(unruly.path());
    assert!(told.contains("note: stage 'only'") && told.contains("--isolation-floor request"), "{told}");
    assert!(!check(Path::new("demo")).contains("note:"));
}

fn check(bundle: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_modelgate")).arg("check").arg(bundle).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_a_source_and_no_digest_is_told() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let source = root.path().join("source");
    fs::create_dir(&source).expect("made");
    place(&flowers("iris", "1"), &source.join("iris"));
    // A file that is a link, a folder that is one, and a manifest that is one. Versions differ, and with them the golden
    // examples: a file that another release has already brought into the store is not opened again.
    place(&flowers("file", "2"), &source.join("file"));
    fs::rename(source.join("file/golden.json"), root.path().join("golden.json")).expect("moved");
    symlink(root.path().join("golden.json"), source.join("file/golden.json")).expect("linked");
    place(&flowers("folder", "1"), &root.path().join("folder"));
    symlink(root.path().join("folder"), source.join("folder")).expect("linked");
    fs::create_dir(source.join("manifest")).expect("made");
    symlink(root.path().join("folder/bundle.toml"), source.join("manifest/bundle.toml")).expect("linked");
    // One whose digest is another.
    place(&flowers("other", "3"), &source.join("other"));
    fs::write(source.join("other/golden.json"), b"a secret").expect("written");
    let gateway = Gateway::sourcing(&[source.display().to_string()], cache.path(), |_| {}).await;
    gateway.becomes("iris", "1", "READY", "").await;
    gateway.becomes("file", "2", "UNAVAILABLE", "golden.json: missing: is a link").await;
    gateway.becomes("other", "3", "UNAVAILABLE", "golden.json: wrong digest").await;
    let (_, reason) = gateway.state("other", "3").await.expect("known");
    assert!(!reason.contains(&crate::support::sha256(b"a secret")), "{reason}");
    assert_eq!(gateway.state("folder", "1").await, None);
    let problems = gateway.get("/v2/repository/sources").await.json()["sources"][0]["problems"].to_string();
    assert_eq!(problems.matches("is a link").count(), 2, "{problems}");

    // The folder that the operator names may be a link, and so may what stays inside of it.
    let bundle = flowers("iris", "1");
    fs::rename(bundle.file("golden.json"), bundle.file("inner.json")).expect("moved");
    symlink("inner.json", bundle.file("golden.json")).expect("linked");
    let link = root.path().join("link");
    symlink(bundle.path(), &link).expect("linked");
    let gateway = Gateway::serving(&[&link], |_| {}).await;
    assert_eq!(gateway.predict(row().to_string()).await.status, 200);
    fs::remove_file(bundle.file("golden.json")).expect("removed");
    symlink(root.path().join("golden.json"), bundle.file("golden.json")).expect("linked");
    let told = refusal(&link).await;
    assert!(told.contains("golden.json: leads out of its folder"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_end_is_not_read() {
    let cache = TempDir::new().expect("a folder");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let wire = Wire::to(&server.local_addr().expect("an address").to_string()).await;
    let body = format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
        " ".repeat(32 << 20)
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n";
    wire.fail(Fault::Answer(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())));
    let gateway = Gateway::sourcing(&[source_at(&wire.address, "live")], cache.path(), |args| {
        args.demo = Some(true);
    })
    .await;
    eventually("the listing is refused", || async {
        gateway.get("/v2/repository/sources").await.json()["sources"][0]["state"] == "invalid_response"
    })
    .await;
}

/// The SDK makes 300 bytes of an element of 11. One page of 8 MiB took 330 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_elements_without_content_takes_little_memory() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    for element in ["<Contents/>", "<CommonPrefixes/>", "<Contents><ChecksumAlgorithm/></Contents>"] {
        let cache = TempDir::new().expect("a folder");
        let wire = Wire::to(&server.local_addr().expect("an address").to_string()).await;
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
            element.repeat((4 << 20) / element.len() - 20)
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n";
        wire.fail(Fault::Answer(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())));
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--poll", "1", "--bundle-cache"]).arg(cache.path());
        command.args(["--source", &source_at(&wire.address, "live"), "--code-cache"]).stderr(Stdio::null());
        let served = Served::start(command.arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/code")));
        served.forget_peak();
        let before = served.memory("VmRSS");
        eventually("the listing is refused", || async {
            let url = format!("http://{}/v2/repository/sources", served.address);
            let answer = served.operator.get(url).send().await.expect("an answer").text().await.expect("text");
            answer.contains("\"invalid_response\"")
        })
        .await;
        let added = served.memory("VmHWM").saturating_sub(before);
        assert!(added < 64 << 20, "{element}: {added} bytes");
    }
}

/// 230 bytes of ONNX, in a process that may not have half a gigabyte.
#[test]
fn a_graph_whose_shape_is_computed_takes_no_memory() {
    let bundle = BundleFolder::model_alone("poison", &fs::read("tests/data/poison.onnx").expect("a graph"));
    let output = Command::new("sh")
        .args(["-c", "ulimit -d 500000; exec \"$0\" check \"$1\"", env!("CARGO_BIN_EXE_modelgate")])
        .arg(bundle.path())
        .output()
        .expect("a shell");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.status.signal()), (Some(1), None), "{told}");
    assert!(told.contains("ConstantOfShape 'big' makes a tensor of 4294967296 elements"), "{told}");
}

/// The binary following a folder, with its log.
struct Follower {
    process: Child,
    address: String,
    operator: Client,
}

impl Follower {
    fn start(source: &Path, cache: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_modelgate"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--poll", "0.2", "--workers", "1"])
            .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code"), "--max-instances", "16"])
            .arg("--source")
            .arg(source)
            .arg("--bundle-cache")
            .arg(cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let first = lines.next().expect("a line");
        let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("one").to_owned();
        let socket = lines.find_map(|line| line.strip_prefix("  admin    ").map(str::to_owned)).expect("a socket");
        Self { process, address, operator: operator(Path::new(&socket)) }
    }

    async fn becomes(&self, model: &str, version: &str, state: &str, words: &str) {
        let client = client();
        eventually(&format!("{model} {version} is {state}"), || async {
            let index = client.post(format!("http://{}/v2/repository/index", self.address)).send().await;
            let index: Value = index.expect("an answer").json().await.expect("JSON");
            index.as_array().expect("a list").iter().any(|of| {
                of["name"] == model
                    && of["version"] == version
                    && of["state"] == state
                    && of["reason"].as_str().is_some_and(|reason| reason.contains(words))
            })
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// The log, once it has ended.
    fn end(mut self, signal: &str) -> String {
        self.signal(signal);
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().expect("waited").is_none() {
            assert!(Instant::now() < deadline, "it did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut log = String::new();
        self.process.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
        log
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_died_of_is_loaded_by_hand_alone() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (source, cache) = (root.path(), cache.path().join("bundles"));
    // It goes on for as long as it is let.
    let forever = json!({ "when": "init", "do": "loop" }).to_string();
    let bundle = BundleFolder::unruly("poison", &forever, "[limits]\ndeadline_ms = 3600000");
    place(&bundle, &source.join("poison"));
    let loading = || fs::read_dir(cache.join("loading")).map_or(0, |entries| entries.flatten().count());

    let follower = Follower::start(source, &cache);
    eventually("it is written down", || async { loading() == 1 }).await;
    follower.end("-KILL");
    let follower = Follower::start(source, &cache);
    follower.becomes("poison", "1", "UNAVAILABLE", "it is not tried again by itself").await;
    assert_eq!(loading(), 0);

    // By hand it is, and a process that ends by itself dies of nothing.
    let by_hand = follower.operator.post("http://localhost/v2/repository/models/poison/load").send();
    let asked = tokio::spawn(by_hand);
    follower.becomes("poison", "1", "LOADING", "").await;
    eventually("it is written down", || async { loading() == 1 }).await;
    asked.abort();
    let log = follower.end("-TERM");
    let audit: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let refused = audit.iter().find(|line| line["target"] == "audit" && line["action"] == "refused");
    assert_eq!(refused.expect("an audit line")["model"], "poison");
    assert_eq!(loading(), 0);
    let follower = Follower::start(source, &cache);
    eventually("it is tried again", || async { loading() == 1 }).await;
    follower.end("-KILL");

    // Another bundle is another release.
    let follower = Follower::start(source, &cache);
    follower.becomes("poison", "1", "UNAVAILABLE", "by hand").await;
    place(&flowers("poison", "1"), &source.join("poison"));
    follower.becomes("poison", "1", "READY", "").await;
    follower.end("-TERM");
}
