//! The binary as a person or an orchestrator runs it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{BundleFolder, PATIENCE, demo_row, sha256};

fn modelgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command.args(args).env("MODELGATE_CODE_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/code"));
    command
}

fn run(args: &[&str], input: &str) -> Output {
    let mut child = modelgate(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // It may end before it reads.
    _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends the server with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn predict_reads_rows_and_prints_the_answer() {
    let output = run(&["predict", "demo"], &demo_row().to_string());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "{\"prediction\":2}\n");
    let output = run(&["predict", "demo", "--all"], &format!("[{}]", demo_row()));
    assert!(text(&output.stdout).contains("\"probabilities\":[["), "{}", text(&output.stdout));
    let output = run(&["predict", "demo"], "{}");
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("Elevation"), "{}", text(&output.stderr));
}

#[test]
fn check_tells_of_a_column_that_is_called_as_the_key_that_names_a_model() {
    let cars = crate::naming::cars("cars");
    let output = run(&["check", &cars.path().to_string_lossy()], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    assert!(told.contains("note: it has a column 'model'") && told.contains("/predict/NAME"), "{told}");
    assert!(!text(&run(&["check", "demo"], "").stdout).contains("note"));
}

#[test]
fn check_reports_every_problem() {
    let output = run(&["check", "demo"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("good; 24 golden examples answered as expected"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("\n  batching on: up to 64 rows"), "{}", text(&output.stdout));

    let bad = BundleFolder::copy_of("demo");
    bad.write("model.onnx", b"x");
    bad.write("predict.json", b"{}");
    let output = run(&["check", bad.path().to_str().expect("text")], "");
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("model.onnx: wrong digest") && told.contains("predict.json: wrong digest"), "{told}");
}

#[test]
fn check_says_what_it_did_not_verify() {
    let graph = |name: &str| fs::read(format!("tests/data/company/{name}.onnx")).expect("a graph");
    let told = |folder: &BundleFolder| {
        let output = run(&["check", folder.path().to_str().expect("text")], "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let answers = told(&BundleFolder::model_alone("quantised", &graph("dynamic_matmul")));
    assert!(answers.contains("not verified: it has no golden examples") && !answers.contains("good"), "{answers}");
    assert!(answers.contains("batching off: 'DynamicQuantizeLinear"), "{answers}");

    let one = BundleFolder::copy_of("demo");
    let golden = fs::read(one.file("golden.json")).expect("golden examples");
    let mut golden: Value = serde_json::from_slice(&golden).expect("JSON");
    golden["examples"].as_array_mut().expect("a list").truncate(1);
    one.replace("golden.json", golden.to_string().as_bytes());
    let answers = told(&one);
    assert!(answers.contains("good as far as one row shows"), "{answers}");
}

/// Examples that depend on the rows beside them are compared alone.
#[test]
fn golden_examples_of_rows_that_meet_are_run_alone() {
    let graph = fs::read("tests/data/company/softmax_over_rows.onnx").expect("a graph");
    let folder = BundleFolder::model_alone("meets", &graph);
    let golden = r#"{"examples": [{"input": {"x": [1, 2, 3, 4]}, "output": {"y": [1, 1, 1, 1]}},
        {"input": {"x": [4, 5, 6, 0]}, "output": {"y": [1, 1, 1, 1]}}]}"#;
    folder.write("golden.json", golden.as_bytes());
    let manifest = fs::read_to_string(folder.file("bundle.toml")).expect("a manifest");
    let entry = format!("[golden]\nfile = \"golden.json\"\nsha256 = \"{}\"\n", sha256(golden.as_bytes()));
    folder.write("bundle.toml", format!("{manifest}{entry}").as_bytes());
    let output = run(&["check", folder.path().to_str().expect("text")], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn inspect_tells_what_goes_in_and_comes_out() {
    let output = run(&["inspect", "demo"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["name"], "modelo_covertype_vf");
    assert_eq!(report["stages"][0]["inputs"][0]["name"], "Elevation");
    assert_eq!(report["stages"][1]["outputs"][0]["name"], "prediction");
    assert!(report["model"]["resident_bytes"].as_u64() > Some(100_000));
    assert_eq!(report["model"]["rows"]["dependence"], "independent");
    assert_eq!((&report["batching"]["enabled"], &report["batching"]["cause"]), (&true.into(), &"tried".into()));
}

#[test]
fn mistakes_are_explained() {
    for (args, words) in [
        (vec!["serve"], "--bundle DIR"),
        (vec!["serve", "--demo", "--max-body", "big"], "64MiB"),
        (vec!["serve", "--demo", "--listen", "nowhere"], "nowhere"),
        (vec!["serve", "--demo", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (vec!["serve", "--bundle", "/nonexistent"], "bundle.toml"),
        (vec!["serve", "--demo", "--admin-listen", "0.0.0.0:9000"], "not a loopback address"),
        (vec!["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-socket", "/proc/admin.sock"], "/proc/admin.sock"),
        (vec!["rollback", "iris", "--bundle-cache", "/nonexistent"], "--socket"),
        (vec!["healthcheck", "127.0.0.1:1"], "127.0.0.1:1"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let output = run(&args, "");
        assert!(!output.status.success(), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
}

/// Where `serve` reads its own from.
#[test]
fn rollback_finds_the_address_and_the_token_in_the_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, "s3cret\n").expect("written");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    for given in [address.clone(), format!("http://{address}")] {
        let mut command = modelgate(&["rollback", "iris"]);
        command.env("MODELGATE_LISTEN", "127.0.0.1:1").env("MODELGATE_ADMIN_LISTEN", &given);
        command.env("MODELGATE_ADMIN_TOKEN_FILE", &file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the binary runs");
        listener.set_nonblocking(true).expect("set");
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(Instant::now() < deadline, "nothing came at {given}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        stream.set_nonblocking(false).expect("set");
        let head: Vec<_> = BufReader::new(stream.try_clone().expect("a stream"))
            .lines()
            .map(|line| line.expect("text"))
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(head[0], "POST /v2/repository/models/iris/rollback HTTP/1.1");
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer s3cret")), "{head:?}");
        let body = r#"{"name":"iris","version":"1","generation":3}"#;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(text(&output.stdout), "iris version 1 (generation 3) answers now\n", "{}", text(&output.stderr));
    }
    let help = text(&run(&["rollback", "--help"], "").stdout);
    for words in ["MODELGATE_ADMIN_SOCKET", "MODELGATE_ADMIN_LISTEN", "MODELGATE_ADMIN_TOKEN_FILE", "MODELGATE_LISTEN"]
    {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
}

/// By the folder of its cache alone, as somebody does in the gateway's container.
#[test]
fn the_admin_socket_is_found_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("bundles").display().to_string();
    let child = modelgate(&["serve", "--demo", "--listen", "127.0.0.1:0", "--bundle-cache", &cache])
        .env("MODELGATE_MAX_INSTANCES", "32")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut served = Served(child);
    let mut lines = BufReader::new(served.0.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let first = lines.next().expect("a line");
    let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let socket = lines.find_map(|line| line.strip_prefix("  admin    ").map(str::to_owned)).expect("its path is told");
    assert!(socket.starts_with(&cache), "{socket}");
    let call = |call: &str| run(&[call, "modelo_covertype_vf", "--listen", &address, "--bundle-cache", &cache], "");
    assert_eq!(text(&call("unload").stdout), "no version of modelo_covertype_vf answers now\n");
    let loaded = call("load");
    assert!(text(&loaded.stdout).starts_with("modelo_covertype_vf version 1 (generation "), "{}", text(&loaded.stderr));
    let refused = call("promote");
    assert!(!refused.status.success() && text(&refused.stderr).contains("on trial"), "{}", text(&refused.stderr));

    // Killed, it leaves the socket behind; the next one takes its place.
    served.0.kill().expect("killed");
    served.0.wait().expect("ended");
    let mut log = String::new();
    served.0.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    let audit: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = |action: &str| audit.iter().find(|line| line["target"] == "audit" && line["action"] == action);
    let unload = told("unload").expect("an audit line");
    assert_eq!((&unload["who"], &unload["from"], &unload["result"]), (&"socket".into(), &"1".into(), &"done".into()));
    assert!(unload["peer"].as_str().is_some_and(|peer| peer.contains("uid ")), "{unload}");
    assert!(unload["request_id"].as_str().is_some_and(|id| id.len() == 16), "{unload}");
    assert_eq!(told("load").expect("an audit line")["to"], "1");
    assert!(told("promote").expect("an audit line")["result"].as_str().is_some_and(|words| words.contains("on trial")));
    assert!(fs::symlink_metadata(&socket).is_ok());
}

#[test]
fn help_is_the_documentation() {
    let output = run(&["serve", "--help"], "");
    let help = text(&output.stdout);
    for words in ["--listen", "MODELGATE_LISTEN", "127.0.0.1:8080", "--drain-timeout", "cgroup"] {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
    // Each setting stands under what it is about.
    for heading in ["What is served", "Where it listens", "Limits of requests", "Logs", "Start and end"] {
        assert!(help.contains(&format!("\n{heading}:\n")), "{heading} is no heading of\n{help}");
    }
    let options = help.split("\nOptions:\n").nth(1).and_then(|rest| rest.split("\n\n\n").next()).unwrap_or_default();
    let loose = options.split(":\n").next().unwrap_or_default().matches("\n      --").count();
    assert_eq!(loose, 0, "{options}");
}

/// The printed curl line works as printed; SIGTERM ends the process well.
#[test]
fn serve_prints_a_line_that_works_and_ends_on_sigterm() {
    let child = modelgate(&["serve", "--demo", "--listen", "127.0.0.1:0"])
        .env("MODELGATE_MAX_INSTANCES", "32")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut served = Served(child);
    let mut lines = BufReader::new(served.0.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let curl = lines.map(|line| line.expect("text")).find(|line| line.starts_with("curl ")).expect("a curl line");
    let output = Command::new("sh").args(["-c", &curl]).output().expect("a shell and curl");
    assert_eq!(text(&output.stdout), r#"{"prediction":2}"#, "{curl}: {}", text(&output.stderr));

    let healthy = run(&["healthcheck", &address], "");
    assert!(healthy.status.success(), "{}", text(&healthy.stderr));
    assert!(run(&["healthcheck", "--live", &address], "").status.success());

    let pid = served.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = served.0.try_wait().expect("waited") {
            break status;
        }
        assert!(Instant::now() < deadline, "it did not end");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn the_configuration_file_is_read_and_flags_win() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("modelgate.toml");
    let path_text = path.to_str().expect("text");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    fs::write(&path, format!("demo = true\nlisten = \"{taken}\"\nlog = \"nonsense=what\"\n")).expect("written");
    let output = run(&["serve", "--config", path_text], "");
    assert!(text(&output.stderr).contains("nonsense"), "{}", text(&output.stderr));
    let output = run(&["serve", "--config", path_text, "--log", "info"], "");
    assert!(text(&output.stderr).contains(&format!("cannot listen on {taken}")), "{}", text(&output.stderr));
}

#[test]
fn what_compile_leaves_is_compiled_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipped = folder.path().join("shipped").display().to_string();
    let output = run(&["precompile", &shipped], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2, "tabular and predict: {}", text(&output.stdout));

    // What is compiled is kept; nothing is kept here.
    let own = folder.path().join("own");
    let child = modelgate(&["serve", "--demo", "--listen", "127.0.0.1:0", "--precompiled-modules", &shipped])
        .env("MODELGATE_CODE_CACHE", &own)
        .env("MODELGATE_MAX_INSTANCES", "32")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut served = Served(child);
    let first = BufReader::new(served.0.stdout.take().expect("piped")).lines().next().expect("a line").expect("text");
    assert!(first.contains("listens on"), "{first}");
    let kept = fs::read_dir(&own).expect("made").flatten();
    assert_eq!(kept.filter(|entry| entry.path().extension().is_some_and(|of| of == "cwasm")).count(), 0);

    let output = run(&["precompile", "/proc/none"], "");
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("/proc/none"), "{}", text(&output.stderr));
}

#[test]
fn names_of_version_0_1_work_and_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let output = run(&["compile", &path("modules")], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("`modelgate compile` is called `modelgate precompile` now"));

    let config = format!("demo = true\ncache = {:?}\nversions = \"latest:2\"\nlog = \"warn\"\n", path("bundles"));
    fs::write(folder.path().join("old.toml"), config).expect("written");
    let log = fs::File::create(folder.path().join("log")).expect("a file");
    let child =
        modelgate(&["serve", "--listen", "127.0.0.1:0", "--spread-io=false", "--shipped-code", &path("modules")])
            .args(["--config", &path("old.toml"), "--source", folder.path().to_str().expect("text")])
            .env("MODELGATE_ON_DEMAND", "true")
            .env("MODELGATE_MAX_INSTANCES", "32")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
    let mut served = Served(child);
    let first = BufReader::new(served.0.stdout.take().expect("piped")).lines().next().expect("a line").expect("text");
    assert!(first.contains("listens on"), "{first}");
    assert!(folder.path().join("bundles").exists(), "the cache that the file names");
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    for (old, new) in [
        ("cache", "bundle_cache"),
        ("versions", "version_policy"),
        ("--spread-io", "--pin-io-threads"),
        ("--shipped-code", "--precompiled-modules"),
        ("MODELGATE_ON_DEMAND", "MODELGATE_LAZY_LOAD"),
    ] {
        assert!(log.contains(&format!("`{old}` is called `{new}` now")), "{old}: {log}");
    }
}

#[test]
fn classes_are_answered_by_their_names_with_their_scores() {
    let case: Value =
        serde_json::from_slice(&fs::read("tests/data/models/boosted_multi.json").expect("there")).expect("JSON");
    let numbers = |values: &Value| -> Vec<f64> {
        values.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
    };
    let expected = &numbers(&case["outputs"][1]["values"])[..3];
    let mut ranked = [("low", expected[0]), ("middle", expected[1]), ("high", expected[2])];
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1));

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (labels, out) = (path("labels.txt"), path("bundle"));
    fs::write(&labels, "low\nmiddle\nhigh\n").expect("written");
    let graph = "tests/data/models/boosted_multi.onnx";
    let output = run(&["wrap", graph, &out, "--labels", &labels, "--top", "2"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the 2 best of 3 classes"), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&run(&["inspect", &out], "").stdout).expect("JSON");
    let input = report["model"]["inputs"][0]["name"].as_str().expect("a name").to_owned();
    let row = json!({ input: &numbers(&case["rows"])[..5] }).to_string();
    let output = run(&["predict", &out, "--all"], &row);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(answer["prediction"], json!([ranked[0].0, ranked[1].0]), "{answer}");
    for (score, (_, expected)) in numbers(&answer["outputs"]["scores"]).iter().zip(ranked) {
        assert!((score - expected).abs() < 1e-6, "{answer}: expected {expected}");
    }

    // The file may be a list in JSON; one class is a plain value.
    fs::write(&labels, r#"["low", "middle", "high"]"#).expect("written");
    assert!(run(&["wrap", graph, &path("one"), "--labels", &labels, "--top", "1"], "").status.success());
    let answer: Value = serde_json::from_slice(&run(&["predict", &path("one")], &row).stdout).expect("JSON");
    assert_eq!(answer, json!({ "prediction": ranked[0].0 }));

    fs::write(&labels, "low\nhigh\n").expect("written");
    for (arguments, reason) in [
        (&["--labels", &labels][..], "names 2 classes, so the model has to give 2 scores in a row; it gives "),
        (&["--top", "1"], "--labels <FILE>"),
    ] {
        let output = run(&[&["wrap", graph, &path("no")], arguments].concat(), "");
        assert!(!output.status.success() && text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    }
}

#[test]
fn a_plain_file_is_wrapped() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("bundle");
    let out = out.to_str().expect("UTF-8");
    let output = run(&["wrap", "tests/data/tensors/state.onnx", out, "--name", "vad", "--version", "3"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("state: f32[2, -1, 3]"), "{}", text(&output.stdout));
    let output = run(&["inspect", out], "");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["name"], &report["version"], &report["model"]["tensors"]),
        (&"vad".into(), &"3".into(), &true.into())
    );
    let again = run(&["wrap", "tests/data/tensors/state.onnx", out], "");
    assert!(!again.status.success() && text(&again.stderr).contains("already"), "{}", text(&again.stderr));
    let output = run(&["wrap", "Cargo.toml", folder.path().join("no").to_str().expect("UTF-8")], "");
    assert!(!output.status.success() && text(&output.stderr).contains("corrupt"), "{}", text(&output.stderr));
}
