//! Models change while requests flow: no request fails, and every answer is of the version it names.

use std::{fs, num::NonZeroUsize, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    flowers::{Load, flowers, other_model, place, row},
    support::{BundleFolder, Gateway, eventually},
};

struct Place {
    root: TempDir,
    cache: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: TempDir::new().expect("a folder"), cache: TempDir::new().expect("a folder") }
    }

    async fn serve(&self, change: impl FnOnce(&mut modelgate::config::ServeArgs)) -> Arc<Gateway> {
        let source = format!("models={}", self.root.path().display());
        let gateway = Gateway::sourcing(&[source], self.cache.path(), change).await;
        gateway.ready().await;
        Arc::new(gateway)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_takes_over_under_load() {
    let place_of = Place::new();
    place(&flowers("iris", "1"), &place_of.root.path().join("iris/1"));
    // Only an event can be so quick: the poll would take a minute.
    let gateway = place_of.serve(|args| args.poll = Some(60.0)).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    for version in ["2", "10"] {
        place(&flowers("iris", version), &place_of.root.path().join("iris").join(version));
        load.hears(version).await;
    }
    // An older one does not come back for being written later.
    place(&flowers("iris", "9"), &place_of.root.path().join("iris/9"));
    gateway.becomes("iris", "10", "READY", "").await;
    load.hears("10").await;
    assert_eq!(load.answered("9"), 0);
    assert_eq!(load.end().await, 3);
    assert_eq!(gateway.metric("modelgate_releases_total{model=\"iris\",outcome=\"live\"}").await, Some(3.0));
    // The one before is kept for a rollback, the first is released with its series.
    eventually("the first generation's series are gone", || async {
        let text = gateway.get("/metrics").await.text;
        !text.contains("model=\"iris\",version=\"1\"") && text.contains("model=\"iris\",version=\"10\"")
    })
    .await;
}

/// As tools do that swap a folder in one step.
#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_moved_away_are_not_watched_any_more() {
    let place_of = Place::new();
    let away = TempDir::new().expect("a folder");
    let live = place_of.root.path().join("iris");
    place(&flowers("iris", "1"), &live);
    let watches = || {
        let all = fs::read_dir("/proc/self/fdinfo").expect("Linux").flatten();
        let texts = all.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        texts.map(|text| text.lines().filter(|line| line.starts_with("inotify")).count()).sum::<usize>()
    };
    let gateway = place_of.serve(|_| {}).await;
    for version in 2..60 {
        let next = away.path().join(version.to_string());
        place(&flowers("iris", &version.to_string()), &next);
        fs::rename(&live, away.path().join(format!("old-{version}"))).expect("moved");
        fs::rename(&next, &live).expect("moved");
        gateway.becomes("iris", &version.to_string(), "READY", "").await;
    }
    // Others run in this process beside this one, with some folders each.
    eventually("few are watched", || async { watches() < 58 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sources_the_newest_version_is_the_default() {
    let (first, second) = (Place::new(), Place::new());
    place(&flowers("iris", "9"), &first.root.path().join("iris"));
    place(&flowers("iris", "10"), &second.root.path().join("iris"));
    let sources =
        [("first", &first), ("second", &second)].map(|(name, of)| format!("{name}={}", of.root.path().display()));
    let gateway = Arc::new(Gateway::sourcing(&sources, first.cache.path(), |_| {}).await);
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    load.hears("10").await;
    gateway.becomes("iris", "9", "READY", "").await;
    place(&flowers("iris", "11"), &first.root.path().join("iris"));
    load.hears("11").await;
    load.end().await;
}

/// Made at the switch, they would be made while requests wait.
#[tokio::test(flavor = "multi_thread")]
async fn instances_are_there_before_the_first_request() {
    let place_of = Place::new();
    place(&flowers("iris", "1"), &place_of.root.path().join("iris/1"));
    let gateway = place_of.serve(|args| args.workers = NonZeroUsize::new(1)).await;
    let instances = async |version: &str| {
        let series = format!("modelgate_instances{{model=\"iris\",version=\"{version}\"}}");
        gateway.metric(&series).await
    };
    assert_eq!(instances("1").await, Some(0.0), "nobody has asked for it");
    assert_eq!(gateway.predict(row().to_string()).await.status, 200);
    let held = instances("1").await;
    assert!(held > Some(0.0), "{held:?}");
    // As many as the version before had by then.
    place(&flowers("iris", "2"), &place_of.root.path().join("iris/2"));
    gateway.becomes("iris", "2", "READY", "").await;
    assert_eq!(instances("2").await, held);
}

/// A load that no request waits for does not delay requests.
#[tokio::test(flavor = "multi_thread")]
async fn loads_rest_while_requests_are_served() {
    let place_of = Place::new();
    place(&flowers("iris", "1"), &place_of.root.path().join("iris/1"));
    let gateway = place_of.serve(|_| {}).await;
    let rested = async || gateway.metric("modelgate_release_duration_seconds_sum{part=\"rest\"}").await;
    place(&flowers("iris", "2"), &place_of.root.path().join("iris/2"));
    gateway.becomes("iris", "2", "READY", "").await;
    assert_eq!(rested().await, Some(0.0), "nobody asked for anything");
    let load = Load::start(&gateway, "iris");
    load.hears("2").await;
    // Whether one load of so small a model is met by a request is up to the scheduler; of several, one is.
    let mut versions = 3_u32..23;
    while rested().await == Some(0.0) {
        let version = versions.next().expect("no load has rested").to_string();
        let bundle = flowers("iris", &version);
        other_model(&bundle, &version);
        place(&bundle, &place_of.root.path().join("iris").join(&version));
        load.hears(&version).await;
    }
    assert!(rested().await > Some(0.0), "{:?}", rested().await);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_build_of_the_same_version_takes_over() {
    let place_of = Place::new();
    let bundle = flowers("iris", "1");
    let at = place_of.root.path().join("any-name");
    place(&bundle, &at);
    let gateway = place_of.serve(|_| {}).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let before = gateway.app.catalog.get("iris").expect("live");
    // Only the preprocessing changes: the model stays the very same one in memory.
    let config = fs::read_to_string(bundle.file("preprocess.json")).expect("a config");
    bundle.replace("preprocess.json", format!("{config}\n").as_bytes());
    place(&bundle, &at);
    eventually("the new build is live", || async {
        gateway.app.catalog.get("iris").is_some_and(|now| now.id != before.id)
    })
    .await;
    load.hears("1").await;
    assert_eq!(load.end().await, 2);
    let after = gateway.app.catalog.get("iris").expect("live");
    let (old, new) = (before.model.as_ref().expect("a model"), after.model.as_ref().expect("a model"));
    assert!(Arc::ptr_eq(old, new), "the model was loaded again");
    // Of four files one was fetched the second time.
    let reused = gateway.metric("modelgate_source_reused_files_total{source=\"models\"}").await;
    assert!(reused >= Some(3.0), "{reused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_versions_live_at_once_by_policy() {
    let place_of = Place::new();
    for version in ["1", "2", "3"] {
        place(&flowers("iris", version), &place_of.root.path().join(version));
    }
    let gateway = place_of.serve(|args| args.version_policy = Some("latest:2".into())).await;
    let versions = || gateway.app.catalog.versions("iris").iter().map(|live| live.version.clone()).collect::<Vec<_>>();
    assert_eq!(versions(), ["3", "2"]);
    let asked = gateway.app.resolve(Some("iris"), Some("2")).await.expect("live");
    assert_eq!(asked.version, "2");
    assert!(gateway.app.resolve(Some("iris"), Some("1")).await.is_err());
    let told = async |path: &str| {
        let statistics = gateway.get(path).await.json()["model_stats"].clone();
        let each = statistics.as_array().expect("a list").iter();
        each.map(|of| of["version"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told("/v2/models/stats").await, ["3", "2"]);
    assert_eq!(told("/v2/models/iris/stats").await, ["3", "2"]);
    assert_eq!(told("/v2/models/iris/versions/2/stats").await, ["2"]);
    place(&flowers("iris", "4"), &place_of.root.path().join("4"));
    eventually("the two newest are live", || async { versions() == ["4", "3"] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_signature_is_allowed_and_told() {
    let place_of = Place::new();
    place(&flowers("iris", "1"), &place_of.root.path().join("1"));
    let gateway = place_of.serve(|_| {}).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let bundle = flowers("iris", "2");
    let config = fs::read_to_string(bundle.file("predict.json")).expect("a config");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["outputs"][1]["name"] = "scores".into();
    bundle.replace("predict.json", config.to_string().as_bytes());
    let golden = fs::read_to_string(bundle.file("golden.json")).expect("golden examples");
    bundle.replace("golden.json", golden.replace("probabilities", "scores").as_bytes());
    place(&bundle, &place_of.root.path().join("2"));
    gateway.becomes("iris", "2", "READY", "'probabilities' is gone").await;
    load.hears("2").await;
    assert_eq!(load.end().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_goes_on_serving() {
    let place_of = Place::new();
    let at = place_of.root.path().join("iris");
    place(&flowers("iris", "1"), &at);
    place(&flowers("other", "1"), &place_of.root.path().join("other"));
    let gateway = place_of.serve(|_| {}).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    fs::remove_dir_all(&at).expect("removed");
    gateway.becomes("iris", "1", "READY", "no source has it any more").await;
    load.hears("1").await;
    // And may come back.
    place(&flowers("iris", "2"), &at);
    load.hears("2").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_instant_and_holds_until_something_new_comes() {
    let place_of = Place::new();
    place(&flowers("iris", "1"), &place_of.root.path().join("1"));
    let gateway = place_of.serve(|_| {}).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let refused = gateway.post("/v2/repository/models/iris/rollback", Vec::new(), &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    place(&flowers("iris", "2"), &place_of.root.path().join("2"));
    load.hears("2").await;

    let loads = gateway.metric("modelgate_release_duration_seconds_count{part=\"load\"}").await;
    let answer = gateway.post("/v2/repository/models/iris/rollback", Vec::new(), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["version"], "1");
    load.hears("1").await;
    let after = gateway.metric("modelgate_release_duration_seconds_count{part=\"load\"}").await;
    assert_eq!(loads, after, "nothing was loaded for it");
    // Looking at the source again does not undo it.
    let polls = || gateway.metric("modelgate_source_polls_total{outcome=\"ok\",source=\"models\"}");
    let before = polls().await.expect("polls");
    eventually("two more polls", || async { polls().await >= Some(before + 2.0) }).await;
    load.hears("1").await;
    // Back again, and then something new.
    assert_eq!(gateway.post("/v2/repository/models/iris/rollback", Vec::new(), &[]).await.status, 200);
    load.hears("2").await;
    assert_eq!(gateway.post("/v2/repository/models/iris/rollback", Vec::new(), &[]).await.status, 200);
    load.hears("1").await;
    place(&flowers("iris", "3"), &place_of.root.path().join("3"));
    load.hears("3").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_swaps_leave_nothing_behind() {
    let place_of = Place::new();
    let builds: [BundleFolder; 2] = [flowers("iris", "1"), flowers("iris", "2")];
    let at = place_of.root.path().join("iris");
    place(&builds[0], &at);
    let gateway = place_of.serve(|_| {}).await;
    let load = Load::start(&gateway, "iris");
    for turn in 1..=20 {
        place(&builds[turn % 2], &at);
        load.hears(if turn % 2 == 0 { "1" } else { "2" }).await;
    }
    load.end().await;
    eventually("all but two are released", || async {
        gateway.metric("modelgate_draining_generations").await == Some(0.0)
            && gateway.metric("modelgate_resident_generations").await == Some(2.0)
    })
    .await;
    eventually("their series too", || async {
        let text = gateway.get("/metrics").await.text;
        text.matches("modelgate_generation_info{").count() == 2
    })
    .await;
    let answer = gateway.predict({
        let mut row = row();
        row["model"] = "iris".into();
        row.to_string()
    });
    assert_eq!(answer.await.status, 200);
}
