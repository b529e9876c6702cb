//! A walk of chance: versions come, change, break and go, operators load, unload and go back, the gateway restarts, and at
//! each step what answers is a version that is good. The decisions alone have a million such steps
//! (`gateway/src/lifecycle/properties.rs`); here files, sockets and loads are real.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use tempfile::TempDir;

use crate::{
    flowers::{flowers, place, row},
    support::{Gateway, eventually},
};

const STEPS: usize = 60;

/// A sequence that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Walk {
    root: TempDir,
    cache: TempDir,
    gateway: Option<Arc<Gateway>>,
    canary: bool,
    /// Versions that were placed whole, and are there.
    offered: BTreeSet<u64>,
    /// Versions that were ever whole.
    good: BTreeSet<u64>,
    unloaded: bool,
}

impl Walk {
    async fn start(canary: bool) -> Self {
        let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let mut walk =
            Self { root, cache, gateway: None, canary, offered: [1].into(), good: [1].into(), unloaded: false };
        walk.place(1, false);
        walk.serve().await;
        walk
    }

    async fn serve(&mut self) {
        let source = [self.root.path().display().to_string()];
        let gateway = Gateway::sourcing(&source, self.cache.path(), |args| {
            args.canary = self.canary.then_some(0.5);
            args.canary_requests = Some(3);
        });
        let gateway = gateway.await;
        gateway.ready().await;
        self.gateway = Some(Arc::new(gateway));
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    fn place(&self, version: u64, broken: bool) {
        let bundle = flowers("iris", &version.to_string());
        if broken {
            bundle.replace("model.onnx", b"none");
        }
        place(&bundle, &self.at(version));
    }

    fn at(&self, version: u64) -> std::path::PathBuf {
        Path::new(self.root.path()).join(version.to_string())
    }

    async fn call(&self, call: &str) -> u16 {
        let path = format!("/v2/repository/models/iris/{call}");
        self.gateway().post(&path, Vec::new(), &[]).await.status.as_u16()
    }

    /// One row is answered by a version that is good, unless the model was unloaded by hand.
    async fn check(&self, step: &str) {
        let answer = self.gateway().predict(row().to_string()).await;
        if self.unloaded {
            assert_ne!(answer.status, 200, "after {step}: it was unloaded, and {} answers", answer.text);
            return;
        }
        assert_eq!(answer.status, 200, "after {step}: {}", answer.text);
        let version: u64 = answer.header("x-modelgate-version").parse().expect("a number");
        assert!(self.good.contains(&version), "after {step}: {version} answers");
        assert_eq!(answer.text, format!(r#"{{"prediction":"versicolor-{version}"}}"#), "after {step}");
    }

    async fn step(&mut self, chance: &mut Chance, next: &mut u64) -> String {
        match chance.below(10) {
            0..3 => {
                *next += 1;
                self.place(*next, false);
                self.offered.insert(*next);
                self.good.insert(*next);
                format!("version {next} came")
            }
            3 => {
                *next += 1;
                self.place(*next, true);
                format!("version {next} came and is broken")
            }
            4 if self.offered.len() > 1 => {
                let newest = self.offered.pop_last().expect("there are two");
                fs::remove_dir_all(self.at(newest)).expect("removed");
                format!("version {newest} went")
            }
            5 => format!("rollback: {}", self.call("rollback").await),
            6 => {
                assert_eq!(self.call("unload").await, 200, "an unload is done");
                self.unloaded = true;
                self.check("unload").await;
                let status = self.call("load").await;
                self.unloaded = false;
                format!("unload, and load: {status}")
            }
            7 => format!("promote: {}", self.call("promote").await),
            8 => {
                let gateway = self.gateway.take().expect("it runs");
                Arc::into_inner(gateway).expect("the only one").stopped().await;
                self.serve().await;
                "a restart".to_owned()
            }
            _ => {
                for _ in 0..10 {
                    self.check("a request").await;
                }
                "ten requests".to_owned()
            }
        }
    }
}

async fn walk(canary: bool, seed: u64) {
    let (mut walk, mut chance, mut next) = (Walk::start(canary).await, Chance(seed), 1);
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        steps.push(walk.step(&mut chance, &mut next).await);
        walk.check(&steps.join(", ")).await;
    }
    // It comes to rest at the newest version.
    next += 1;
    walk.place(next, false);
    walk.good.insert(next);
    eventually("the newest answers", || async {
        let answer = walk.gateway().predict(row().to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.header("x-modelgate-version") == next.to_string()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_a_good_version_answers() {
    walk(false, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_a_good_version_answers_beside_canaries() {
    walk(true, 2).await;
}
