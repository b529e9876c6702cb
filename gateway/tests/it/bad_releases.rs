//! A bad release never serves: what answered goes on answering, and the index and a metric say what is wrong.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, process::Command, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    flowers::{Load, flowers, other_model, place, row},
    real::{Conversation, python},
    support::{BundleFolder, Gateway, eventually, sha256},
};

/// A gateway on a folder with version 1 of `iris`, under load.
async fn under_load(root: &Path, cache: &Path) -> (Arc<Gateway>, Load) {
    under_load_with(root, cache, "1MiB").await
}

/// The same with another limit for bundles.
async fn under_load_with(root: &Path, cache: &Path, max_bundle: &str) -> (Arc<Gateway>, Load) {
    place(&flowers("iris", "1"), &root.join("1"));
    let source = format!("models={}", root.display());
    let gateway = Gateway::sourcing(&[source], cache, |args| args.max_bundle = Some(max_bundle.into())).await;
    gateway.ready().await;
    let gateway = Arc::new(gateway);
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    (gateway, load)
}

/// A small change to the file, with the digest in the manifest made right.
fn bad(name: &str) -> BundleFolder {
    let bundle = flowers("iris", "2");
    other_model(&bundle, "of version 2");
    match name {
        "corrupt graph" => {
            let model = fs::read(bundle.file("model.onnx")).expect("a model");
            bundle.replace("model.onnx", &model[..model.len() / 2]);
        }
        "golden example" => {
            let golden = fs::read_to_string(bundle.file("golden.json")).expect("golden examples");
            bundle.replace("golden.json", golden.replacen("versicolor-2", "setosa-2", 1).as_bytes());
        }
        "too large" => bundle.replace("model.onnx", &vec![0; 2 << 20]),
        "too large together" => {
            bundle.replace("model.onnx", &vec![0; 900 << 10]);
            bundle.replace("preprocess.json", &vec![b' '; 300 << 10]);
        }
        "missing file" => fs::remove_file(bundle.file("model.onnx")).expect("removed"),
        "wrong digest" => bundle.write("model.onnx", b"something else"),
        other => panic!("{other}"),
    }
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_load_or_answer_right_never_serves() {
    for (name, words, outcome) in [
        ("corrupt graph", "model:", "rejected"),
        ("golden example", "golden example", "rejected"),
        ("too large", "too_large", "rejected"),
        ("too large together", "larger than the limit", "rejected"),
        ("missing file", "missing", "fetch_failed"),
        ("wrong digest", "wrong digest", "fetch_failed"),
    ] {
        let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let (gateway, load) = under_load(root.path(), cache.path()).await;
        place(&bad(name), &root.path().join("2"));
        gateway.becomes("iris", "2", "UNAVAILABLE", words).await;
        let series = format!("modelgate_releases_total{{model=\"iris\",outcome=\"{outcome}\"}}");
        assert_eq!(gateway.metric(&series).await, Some(1.0), "{name}");
        assert_eq!(gateway.state("iris", "1").await.expect("known").0, "READY", "{name}");
        load.hears("1").await;
        // What comes next is served.
        place(&flowers("iris", "3"), &root.path().join("3"));
        load.hears("3").await;
        assert_eq!(load.end().await, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_served_leaves_no_series_once_it_is_taken_away() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |_| {}).await;
    gateway.ready().await;
    let broken = flowers("broken", "1");
    broken.replace("model.onnx", b"not a graph");
    place(&broken, &root.path().join("broken"));
    gateway.becomes("broken", "1", "UNAVAILABLE", "model:").await;
    let series = "modelgate_releases_total{model=\"broken\",outcome=\"refused\"}";
    assert_eq!(gateway.metric(series).await, Some(1.0));
    fs::remove_dir_all(root.path().join("broken")).expect("removed");
    eventually("it is forgotten", || async { gateway.state("broken", "1").await.is_none() }).await;
    eventually("its series are gone", || async { gateway.metric(series).await.is_none() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_traps_in_init_never_serves() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load_with(root.path(), cache.path(), "64MiB").await;
    let unruly = BundleFolder::unruly("iris", r#"{"when":"init","do":"trap"}"#, "");
    unruly.edit_manifest("version = \"1\"", "version = \"2\"");
    place(&unruly, &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "`init` trapped: unreachable").await;
    let series = "modelgate_releases_total{model=\"iris\",outcome=\"rejected\"}";
    assert_eq!(gateway.metric(series).await, Some(1.0));
    load.hears("1").await;
    assert_eq!(load.end().await, 1);
}

/// Something in it goes on for longer than a load may take: here `init`, which is stopped after ten seconds by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_loaded_in_time_keeps_no_other_from_its_turn() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |args| {
        args.load_timeout = Some(5.0);
    })
    .await;
    gateway.ready().await;
    let gateway = Arc::new(gateway);
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    place(&BundleFolder::unruly("endless", r#"{"when":"init","do":"loop"}"#, ""), &root.path().join("endless"));
    gateway.becomes("endless", "1", "UNAVAILABLE", "took longer than --load-timeout (5s)").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    load.hears("2").await;
    assert_eq!(load.end().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_reaches_outside_is_no_release() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let secret = root.path().parent().expect("above").join("modelgate-test-secret");
    fs::write(&secret, "outside").expect("written");
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    for (place_in, path) in [("a", "../../modelgate-test-secret".to_owned()), ("b", secret.display().to_string())] {
        let bundle = flowers("iris", "2");
        let old = sha256(&fs::read(bundle.file("model.onnx")).expect("a model"));
        bundle.edit_manifest("\"model.onnx\"", &format!("\"{path}\""));
        bundle.edit_manifest(&old, &sha256(b"outside"));
        place(&bundle, &root.path().join(place_in));
    }
    eventually("both are told", || async {
        let sources = gateway.get("/v2/repository/sources").await.json();
        let problems = sources["sources"][0]["problems"].clone();
        problems.as_array().is_some_and(|problems| {
            problems.len() == 2
                && problems.iter().all(|told| told.as_str().is_some_and(|told| told.contains("inside the bundle")))
        })
    })
    .await;
    assert_eq!(gateway.state("iris", "2").await, None);
    assert!(!cache.path().join("files").join(sha256(b"outside")).exists(), "it was fetched");
    load.hears("1").await;
    load.end().await;
    fs::remove_file(secret).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_name_is_no_text_is_told() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    place(&flowers("iris", "2"), &root.path().join(OsStr::from_bytes(b"iris-\xff")));
    eventually("it is told", || async {
        let sources = gateway.get("/v2/repository/sources").await.json();
        sources["sources"][0]["problems"][0].as_str().is_some_and(|problem| problem.contains("not UTF-8"))
    })
    .await;
    load.hears("1").await;
    load.end().await;
}

/// The manifest first and the files slowly after it, as `cp -r` may do it; then another build over it, file by file.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_half_copied_is_no_release_yet() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    let bundle = flowers("iris", "2");
    other_model(&bundle, "of version 2");
    let at = root.path().join("2");
    fs::create_dir_all(&at).expect("made");
    fs::copy(bundle.file("bundle.toml"), at.join("bundle.toml")).expect("copied");
    gateway.becomes("iris", "2", "UNAVAILABLE", "missing").await;
    let model = fs::read(bundle.file("model.onnx")).expect("a model");
    fs::write(at.join("model.onnx"), &model[..1000]).expect("written");
    for file in ["preprocess.json", "predict.json", "golden.json"] {
        fs::copy(bundle.file(file), at.join(file)).expect("copied");
    }
    gateway.becomes("iris", "2", "UNAVAILABLE", "model.onnx: wrong digest").await;
    load.hears("1").await;
    fs::write(at.join("model.onnx"), &model).expect("written");
    load.hears("2").await;
    // Over the files of what serves.
    for file in ["model.onnx", "preprocess.json", "golden.json"] {
        fs::write(at.join(file), b"half").expect("written");
    }
    load.hears("2").await;
    load.end().await;
}

/// Two tools write different builds to the same place at once: whatever mixture is there, only a whole one serves.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_that_race_never_mix() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (_gateway, load) = under_load(root.path(), cache.path()).await;
    let at = root.path().join("next");
    let writers: Vec<_> = ["2", "3"]
        .map(|version| {
            let (bundle, at) = (flowers("iris", version), at.clone());
            tokio::task::spawn(async move {
                for _ in 0..15 {
                    place(&bundle, &at);
                    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                }
            })
        })
        .into_iter()
        .collect();
    for writer in writers {
        writer.await.expect("written");
    }
    // The last word is one of them, whole.
    place(&flowers("iris", "4"), &at);
    load.hears("4").await;
    load.end().await;
}

/// A bundle whose parts are all right but whose manifest is not even text.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_manifest_is_told() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    for (name, bytes) in [("a", b"\xff\xfe\0".as_slice()), ("b", b"format = "), ("c", vec![b'#'; 2 << 20].as_slice())] {
        fs::create_dir_all(root.path().join(name)).expect("made");
        fs::write(root.path().join(name).join("bundle.toml"), bytes).expect("written");
    }
    eventually("all three are told", || async {
        let sources: Value = gateway.get("/v2/repository/sources").await.json();
        sources["sources"][0]["problems"].as_array().is_some_and(|problems| problems.len() == 3)
    })
    .await;
    load.hears("1").await;
    load.end().await;
}

/// A good version is in the local cache, whatever the source has by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_beside_a_bad_release_serves_the_last_good_one() {
    for on_demand in [false, true] {
        let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let source = [format!("models={}", root.path().display())];
        let start = || Gateway::sourcing(&source, cache.path(), |args| args.lazy_load = Some(on_demand));
        let answers = async |gateway: &Gateway| {
            let answer = gateway.predict(row().to_string()).await;
            assert_eq!(answer.text, r#"{"prediction":"versicolor-1"}"#, "on demand: {on_demand}");
        };
        let at = root.path().join("iris");
        place(&flowers("iris", "1"), &at);
        let gateway = start().await;
        gateway.ready().await;
        answers(&gateway).await;
        place(&bad("corrupt graph"), &at);
        eventually("it is known", || async { gateway.state("iris", "2").await.is_some() }).await;
        answers(&gateway).await;
        gateway.stopped().await;
        // More than once: what is remembered is not lost by remembering.
        for _ in 0..2 {
            let gateway = start().await;
            gateway.ready().await;
            answers(&gateway).await;
            answers(&gateway).await;
            gateway.becomes("iris", "2", "UNAVAILABLE", "model:").await;
            assert_eq!(gateway.state("iris", "1").await.expect("known").0, "READY");
            gateway.stopped().await;
        }
        fs::remove_dir_all(root.path()).expect("removed");
        let gateway = start().await;
        gateway.ready().await;
        answers(&gateway).await;
        gateway.stopped().await;
    }
}

/// As the replicas do that were there before.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_serves_the_next_best_version_where_the_newest_is_bad() {
    for on_demand in [false, true] {
        let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        place(&flowers("iris", "1"), &root.path().join("1"));
        place(&bad("golden example"), &root.path().join("2"));
        let source = format!("models={}", root.path().display());
        let gateway = Gateway::sourcing(&[source], cache.path(), |args| args.lazy_load = Some(on_demand)).await;
        gateway.ready().await;
        let answer = gateway.predict(row().to_string()).await;
        assert_eq!(answer.text, r#"{"prediction":"versicolor-1"}"#, "on demand: {on_demand}");
        gateway.becomes("iris", "2", "UNAVAILABLE", "golden example").await;
        gateway.becomes("iris", "1", "READY", "").await;
        // What comes next is served.
        place(&flowers("iris", "3"), &root.path().join("3"));
        eventually("version 3 answers", || async {
            gateway.predict(row().to_string()).await.text.contains("versicolor-3")
        })
        .await;
        gateway.stopped().await;
    }
}

/// The parts of it that were fetched before the limit was met are in the cache by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_stays_so() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    place(&bad("too large together"), &root.path().join("2"));
    for _ in 0..3 {
        gateway.becomes("iris", "2", "UNAVAILABLE", "larger than the limit").await;
        gateway.post("/v2/repository/models/iris/load", Vec::new(), &[]).await;
    }
    gateway.becomes("iris", "2", "UNAVAILABLE", "larger than the limit").await;
    load.hears("1").await;
    assert_eq!(load.end().await, 1);
}

/// A reader that opens a pipe waits for a writer.
#[tokio::test(flavor = "multi_thread")]
async fn pipes_in_place_of_files_hold_up_nothing() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    let pipe = |at: &Path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    };
    let bundle = flowers("iris", "2");
    other_model(&bundle, "of version 2");
    fs::create_dir_all(root.path().join("2")).expect("made");
    pipe(&root.path().join("2/model.onnx"));
    for file in ["preprocess.json", "predict.json", "golden.json", "bundle.toml"] {
        fs::copy(bundle.file(file), root.path().join("2").join(file)).expect("copied");
    }
    gateway.becomes("iris", "2", "UNAVAILABLE", "is not a file").await;
    fs::create_dir_all(root.path().join("x")).expect("made");
    pipe(&root.path().join("x/bundle.toml"));
    eventually("it is told", || async {
        let sources: Value = gateway.get("/v2/repository/sources").await.json();
        sources["sources"][0]["problems"].to_string().contains("is not a file")
    })
    .await;
    place(&flowers("iris", "3"), &root.path().join("3"));
    load.hears("3").await;
    load.end().await;
}

/// A reader that opens a file waits where another process has a lease on it, as with a network mount that hangs.
const LEASES: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
for line in sys.stdin:
    fcntl.fcntl(os.open(line.strip(), os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print('= held', flush=True)
";

#[tokio::test(flavor = "multi_thread")]
async fn files_that_hang_hold_up_nothing_else() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    let mut leases = Conversation::start(Command::new(python("python")).args(["-u", "-c", LEASES]));
    // Hidden folders are not looked at until they have their names.
    let add = |bundle: &BundleFolder, name: &str, hangs: &str, leases: &mut Conversation| {
        let hidden = root.path().join(format!(".{name}"));
        place(bundle, &hidden);
        assert_eq!(leases.say(&hidden.join(hangs).display().to_string()), "held");
        fs::rename(&hidden, root.path().join(name)).expect("renamed");
    };
    let bundle = flowers("iris", "2");
    other_model(&bundle, "of version 2");
    add(&bundle, "2", "model.onnx", &mut leases);
    gateway.becomes("iris", "2", "LOADING", "").await;
    // Others of the same source are looked at and fetched.
    place(&flowers("lily", "1"), &root.path().join("lily"));
    gateway.becomes("lily", "1", "READY", "").await;
    assert_eq!(gateway.state("iris", "2").await.map(|(state, _)| state).as_deref(), Some("LOADING"));
    // No look ends, but what is there can be governed.
    add(&flowers("rose", "1"), "rose", "bundle.toml", &mut leases);
    for call in ["unload", "load"] {
        let answer = gateway.post(&format!("/v2/repository/models/lily/{call}"), Vec::new(), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(gateway.state("rose", "1").await, None);
    load.hears("1").await;
    drop(leases);
    load.hears("2").await;
    gateway.becomes("rose", "1", "READY", "").await;
    load.end().await;
}

/// A manifest that is being written over is no reason to go back to an older version.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_breaks_changes_nothing() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (gateway, load) = under_load(root.path(), cache.path()).await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    load.hears("2").await;
    let manifest = root.path().join("2/bundle.toml");
    let whole = fs::read(&manifest).expect("there");
    for broken in [&whole[..whole.len() / 2], b"\xff", &vec![b'#'; 2 << 20]] {
        let before = load.answered("1");
        fs::write(&manifest, broken).expect("written");
        eventually("it is told", || async {
            let sources: Value = gateway.get("/v2/repository/sources").await.json();
            sources["sources"][0]["problems"].as_array().is_some_and(|problems| !problems.is_empty())
        })
        .await;
        load.hears("2").await;
        assert_eq!(load.answered("1"), before);
        fs::write(&manifest, &whole).expect("written");
        eventually("it is whole", || async {
            let sources: Value = gateway.get("/v2/repository/sources").await.json();
            sources["sources"][0]["problems"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
    }
    assert_eq!(load.end().await, 2);
    // Taken away for good, the one before answers again, and that is told.
    fs::remove_dir_all(root.path().join("2")).expect("removed");
    eventually("version 1 answers again", || async {
        gateway.predict(row().to_string()).await.text.contains("versicolor-1")
    })
    .await;
    assert_eq!(gateway.metric("modelgate_releases_total{model=\"iris\",outcome=\"switched\"}").await, Some(1.0));
}
