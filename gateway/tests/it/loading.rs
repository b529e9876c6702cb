//! Bundles are loaded in a process of their own: what takes too much ends that, and nothing else.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use modelgate::{config::ServeArgs, loading::LoadIsolation, server::Server};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto, tensor_shape_proto, type_proto,
};

use crate::{
    flowers::{flowers, other_model, place, row},
    support::{BundleFolder, Gateway, args, client, eventually, sha256},
};

/// Bytes that stay in the gateway after bundles that were refused, at most.
const MOST_LEFT: usize = 16 << 20;

/// Where the gateways of these tests keep compiled code, which their children map.
const CODE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/code");

/// Runs that a golden example of `unruly` never ends.
const FOREVER: &str = r#"{"when":"process","do":"loop"}"#;

/// The binary, serving the demo and what is in these folders.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    fn start(sources: &[&Path], cache: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--poll", "0.2", "--workers", "1"])
            .args(["--code-cache", CODE, "--max-instances", "64"])
            .args(sources.iter().flat_map(|source| [Path::new("--source"), source]))
            .arg("--bundle-cache")
            .arg(cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        change(&mut command);
        let mut process = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let first = lines.next().expect("a line").expect("text");
        let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("one").to_owned();
        Self { process, address }
    }

    /// The state and the reason of a version.
    async fn state(&self, model: &str, version: &str) -> (String, String) {
        let index = client().post(format!("http://{}/v2/repository/index", self.address)).send().await;
        let index: Value = index.expect("an answer").json().await.expect("JSON");
        let of = |entry: &&Value| entry["name"] == model && entry["version"] == version;
        let entry = index.as_array().expect("a list").iter().find(of).cloned().unwrap_or_default();
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    async fn becomes(&self, model: &str, version: &str, state: &str, words: &str) {
        eventually(&format!("{model} {version} is {state} with {words:?}"), || async {
            let (found, reason) = self.state(model, version).await;
            found == state && reason.contains(words)
        })
        .await;
    }

    async fn answers(&self) {
        let body = crate::support::demo_row().to_string();
        let answer = client().post(format!("http://{}/predict", self.address)).body(body).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }

    fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(self.file("task")).expect("threads").flatten();
        tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).collect()
    }

    /// The processes that load bundles.
    fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(self.file("task")).expect("threads").flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        children.flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
    }

    /// Bytes in memory.
    fn resident(&self) -> usize {
        let statm = fs::read_to_string(self.file("statm")).expect("there");
        statm.split(' ').nth(1).expect("a number").parse::<usize>().expect("one") * 4096
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// `unruly` with a golden example, told how to misbehave at it, under the longest deadline.
fn at_golden_example(name: &str, config: &str) -> BundleFolder {
    let golden = r#"{"examples":[{"input":{"act":"","x":1.0},"output":{}}]}"#;
    let manifest = format!(
        "[limits]\ndeadline_ms = 3600000\n[golden]\nfile = \"golden.json\"\nsha256 = \"{}\"",
        sha256(golden.as_bytes())
    );
    let bundle = BundleFolder::unruly(name, config, &manifest);
    bundle.write("golden.json", golden.as_bytes());
    bundle
}

/// A graph that makes 400 MB of each row.
fn wide() -> Vec<u8> {
    let value = |name: &str| ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: 1,
                shape: Some(TensorShapeProto {
                    dim: [
                        tensor_shape_proto::dimension::Value::DimParam("N".into()),
                        tensor_shape_proto::dimension::Value::DimValue(1),
                    ]
                    .into_iter()
                    .map(|value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() })
                    .collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let node = |op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        op_type: op.into(),
        name: format!("of {output}"),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    };
    let axes = AttributeProto {
        name: "axes".into(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: vec![1],
        ..Default::default()
    };
    let repeats = TensorProto {
        name: "repeats".into(),
        data_type: 7,
        dims: vec![2],
        int64_data: vec![1, 100_000_000],
        ..Default::default()
    };
    let graph = GraphProto {
        name: "wide".into(),
        node: vec![node("Tile", &["x", "repeats"], "t", vec![]), node("ReduceMax", &["t"], "y", vec![axes])],
        initializer: vec![repeats],
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_much_is_refused_and_leaves_nothing() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let good = flowers("good", "1");
    place(&good, &root.path().join("good"));
    let serving = Serving::start(&[root.path()], &cache.path().join("bundles"), |command| {
        command.args(["--load-memory", "256MiB", "--load-timeout", "4"]);
    });
    serving.becomes("good", "1", "READY", "").await;
    serving.answers().await;
    let before = serving.resident();

    let kinds = [
        ("memory", BundleFolder::model_alone("memory", &wide()), "loading it took more than 256 MiB"),
        ("golden", at_golden_example("golden", FOREVER), "loading it took longer than --load-timeout (4s)"),
        ("init", BundleFolder::unruly("init", r#"{"when":"init","do":"loop"}"#, ""), "took longer than --load-timeout"),
        ("trap", at_golden_example("trap", r#"{"when":"process","do":"trap"}"#), "golden example"),
        ("huge", BundleFolder::unruly("huge", r#"{"when":"init","do":"huge-result"}"#, ""), "stage 'only'"),
        ("graph", BundleFolder::model_alone("graph", b"not a graph"), "model:"),
    ];
    for (name, bundle, _) in &kinds {
        place(bundle, &root.path().join(name));
        // The same again under another digest.
        bundle.edit_manifest("version = \"1\"", "version = \"2\"");
        place(bundle, &root.path().join(format!("{name}-2")));
    }
    for (name, _, words) in &kinds {
        serving.becomes(name, "2", "UNAVAILABLE", words).await;
        serving.answers().await;
    }
    eventually("no child is left", || async { serving.children().is_empty() }).await;
    eventually("no thread is left", || async { !serving.threads().iter().any(|name| name.trim() == "loader") }).await;
    eventually("no memory is left", || async { serving.resident() < before + MOST_LEFT }).await;
    assert_eq!(serving.state("good", "1").await.0, "READY");
    // What a process died of is not tried again by a gateway that starts beside it.
    let other = Serving::start(&[root.path()], &cache.path().join("bundles"), |_| {});
    other.becomes("memory", "2", "UNAVAILABLE", "256 MiB (--load-memory) (1 so far), so it is not tried again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_knows_no_secrets_delays_no_other_source_and_can_be_killed() {
    let (bad, good, cache) = (TempDir::new().expect("one"), TempDir::new().expect("one"), TempDir::new().expect("one"));
    let serving = Serving::start(&[bad.path(), good.path()], &cache.path().join("bundles"), |command| {
        command.env("AWS_SECRET_ACCESS_KEY", "secret-1").env("MODELGATE_ADMIN_TOKEN", "secret-2");
    });
    place(&at_golden_example("slow", FOREVER), &bad.path().join("slow"));
    eventually("its child runs", || async { serving.children().len() == 1 }).await;
    let child = serving.children()[0];
    eventually("it has begun", || async {
        fs::read_to_string(format!("/proc/{child}/status")).is_ok_and(|status| status.contains("Seccomp:\t2"))
    })
    .await;
    let environment = fs::read(format!("/proc/{child}/environ")).expect("there");
    let names: Vec<_> = environment
        .split(|&byte| byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8_lossy(entry).split('=').next().unwrap_or_default().to_owned())
        .collect();
    assert!(names.iter().all(|name| name.starts_with("MIMALLOC_")), "{names:?}");
    let open = fs::read_dir(format!("/proc/{child}/fd")).expect("there").flatten();
    let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    let is_known = |path: &Path| {
        let text = path.display().to_string();
        text.starts_with("pipe:")
            || text.starts_with("/memfd:")
            || text.ends_with("/status")
            || path.starts_with(cache.path())
            || path.starts_with(CODE)
    };
    assert!(open.iter().all(|path| is_known(path)), "{open:?}");
    let status = fs::read_to_string(format!("/proc/{child}/status")).expect("there");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(fs::read_to_string(format!("/proc/{child}/oom_score_adj")).expect("there").trim(), "1000");

    // Another source has its turn meanwhile.
    place(&flowers("good", "1"), &good.path().join("good"));
    serving.becomes("good", "1", "READY", "").await;
    assert_eq!(serving.state("slow", "1").await.0, "LOADING");

    assert!(Command::new("kill").args(["-KILL", &child.to_string()]).status().expect("kill").success());
    serving.becomes("slow", "1", "UNAVAILABLE", "killed by signal 9").await;
    serving.answers().await;
}

/// The number of children that a gateway has started, in figures.
async fn children(gateway: &Gateway) -> String {
    let count = gateway.metric("modelgate_release_duration_seconds_count{part=\"child\"}").await;
    count.unwrap_or(0.0).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_as_good_as_a_child() {
    let folder = || TempDir::new().expect("a folder");
    let (root, cache, code, elsewhere) = (folder(), folder(), folder(), folder());
    let source = [root.path().display().to_string()];
    let start = async |change: &dyn Fn(&mut ServeArgs)| {
        let gateway = Gateway::sourcing(&source, cache.path(), |args| {
            args.code_cache = Some(code.path().join("code").display().to_string());
            change(args);
        })
        .await;
        gateway.ready().await;
        let answer = gateway.predict(row().to_string()).await;
        let batching = gateway.get("/v2/models/iris").await.text;
        (gateway, answer.text, batching)
    };
    let unchanged = |_: &mut ServeArgs| ();
    place(&flowers("iris", "1"), &root.path().join("iris"));
    let (gateway, answer, batching) = start(&unchanged).await;
    assert_eq!(children(&gateway).await, "1");
    gateway.stopped().await;
    // Whatever was found out holds.
    let (gateway, again, batching_again) = start(&unchanged).await;
    assert_eq!((children(&gateway).await, again, batching_again), ("0".to_owned(), answer, batching));
    // Another bundle is another matter.
    let bundle = flowers("iris", "2");
    other_model(&bundle, "of version 2");
    place(&bundle, &root.path().join("iris"));
    gateway.becomes("iris", "2", "READY", "").await;
    assert_eq!(children(&gateway).await, "1");
    gateway.stopped().await;
    // So is another binary.
    let binary = elsewhere.path().join("modelgate");
    fs::copy(env!("CARGO_BIN_EXE_modelgate"), &binary).expect("copied");
    fs::File::options().append(true).open(&binary).and_then(|mut file| file.write_all(b"!")).expect("changed");
    let (gateway, ..) = start(&|args| args.binary = Some(binary.clone())).await;
    assert_eq!(children(&gateway).await, "1");
    gateway.stopped().await;
    // Code that is gone is compiled where everything else is found out.
    let custom = BundleFolder::unruly("iris", r#"{"do":"by-row"}"#, "");
    custom.edit_manifest("version = \"1\"", "version = \"3\"");
    place(&custom, &root.path().join("iris"));
    let (gateway, ..) = start(&unchanged).await;
    gateway.becomes("iris", "3", "READY", "").await;
    gateway.stopped().await;
    let entries = || fs::read_dir(code.path().join("code")).expect("there").flatten().map(|entry| entry.path());
    for entry in entries().filter(|path| path.extension().is_some_and(|of| of == "cwasm")) {
        fs::remove_file(entry).expect("removed");
    }
    let (gateway, ..) = start(&unchanged).await;
    gateway.becomes("iris", "3", "READY", "").await;
    assert_eq!(children(&gateway).await, "1");
    gateway.stopped().await;
    // Where no process may be started, or none is wanted, bundles are loaded as they come.
    let (gateway, ..) = start(&|args| args.load_isolation = Some(LoadIsolation::None)).await;
    assert_eq!(children(&gateway).await, "0");
    gateway.stopped().await;
    let missing = elsewhere.path().join("nothing");
    let (gateway, ..) = start(&|args| args.binary = Some(missing.clone())).await;
    gateway.becomes("iris", "3", "READY", "").await;
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_named_is_refused_as_well_and_not_tried_for_ever() {
    let (cache, bundle) = (TempDir::new().expect("a folder"), BundleFolder::model_alone("memory", &wide()));
    let code = cache.path().join("code").display().to_string();
    let refusal = async || {
        let args = ServeArgs {
            bundle: vec![bundle.path().to_owned()],
            load_memory: Some("256MiB".into()),
            code_cache: Some(code.clone()),
            ..args()
        };
        let error = Server::start(&args.resolve().expect("a configuration")).await.expect_err("a refusal");
        format!("{error:#}")
    };
    for _ in 0..3 {
        let told = refusal().await;
        assert!(told.contains("loading it took more than 256 MiB"), "{told}");
    }
    let told = refusal().await;
    assert!(told.contains("(3 so far), so it is not tried again by itself"), "{told}");
}

/// The memory of whatever runs `check` bounds what it starts.
#[test]
fn check_tells_what_became_of_the_process() {
    let bundle = BundleFolder::model_alone("memory", &wide());
    let output = Command::new("sh")
        .args(["-c", "ulimit -d 300000; exec \"$0\" check \"$1\"", env!("CARGO_BIN_EXE_modelgate")])
        .arg(bundle.path())
        .output()
        .expect("a shell");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("loading it took more than 292 MiB"), "{told}");
}
