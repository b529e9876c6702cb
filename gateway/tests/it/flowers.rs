//! Bundles of one small model whose answers tell the version that gave them, and load that checks every answer.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{BundleFolder, Gateway, sha256};

const BUNDLE: &str = "tests/data/bundles/iris_like";

/// One row, without the model's name; its answer is `versicolor-` and the version.
pub fn row() -> Value {
    json!({ "sepal_length": 6.1, "sepal_width": 2.9, "petal_length": 4.7, "petal_width": 1.4 })
}

/// A bundle whose answers end in its version.
pub fn flowers(name: &str, version: &str) -> BundleFolder {
    let bundle = BundleFolder::copy_of(BUNDLE);
    bundle.edit_manifest("name = \"iris_like\"", &format!("name = \"{name}\""));
    bundle.edit_manifest("version = \"1\"", &format!("version = \"{version}\""));
    let classes: Vec<_> = ["setosa", "versicolor", "virginica"].map(|class| format!("{class}-{version}")).to_vec();
    let probabilities = json!({ "name": "probabilities", "from": "probabilities" });
    let prediction = json!({ "name": "prediction", "from": "probabilities", "pick": "argmax", "classes": classes });
    bundle.replace("predict.json", json!({ "outputs": [prediction, probabilities] }).to_string().as_bytes());
    let golden = fs::read(bundle.file("golden.json")).expect("golden examples");
    let mut golden: Value = serde_json::from_slice(&golden).expect("JSON");
    for example in golden["examples"].as_array_mut().expect("a list") {
        let label = &mut example["output"]["prediction"];
        *label = format!("{}-{version}", label.as_str().expect("text")).into();
    }
    bundle.replace("golden.json", golden.to_string().as_bytes());
    bundle
}

/// The same graph in another file: with a documentation string after it.
pub fn other_model(bundle: &BundleFolder, mark: &str) {
    let mut model = fs::read(bundle.file("model.onnx")).expect("a model");
    model.extend([0x32, u8::try_from(mark.len()).expect("short")]);
    model.extend(mark.as_bytes());
    bundle.replace("model.onnx", &model);
}

/// Copies a bundle into a folder as a careful tool would: the manifest last, and in one step.
pub fn place(bundle: &BundleFolder, at: &Path) {
    fs::create_dir_all(at).expect("made");
    for entry in fs::read_dir(bundle.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "bundle.toml" {
            put(&entry.path(), &at.join(entry.file_name()));
        }
    }
    put(&bundle.file("bundle.toml"), &at.join("bundle.toml"));
}

fn put(from: &Path, to: &Path) {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(format!(".{}.new", &sha256(from.as_os_str().as_encoded_bytes())[..8]));
    fs::copy(from, &temporary).expect("copied");
    fs::rename(temporary, to).expect("renamed");
}

/// Requests from several clients at once, every answer checked against the version that it names.
pub struct Load {
    done: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    answers: BTreeMap<String, u64>,
    generations: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

impl Load {
    pub fn start(gateway: &Arc<Gateway>, model: &str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut row = row();
        row["model"] = model.into();
        let clients = (0..4)
            .map(|_| {
                let (gateway, done, seen) = (Arc::clone(gateway), Arc::clone(&done), Arc::clone(&seen));
                let body = row.to_string();
                tokio::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let answer = gateway.predict(body.clone()).await;
                        let version = answer.header("x-modelgate-version").to_owned();
                        let generation = answer.header("x-modelgate-generation").to_owned();
                        let right = format!(r#"{{"prediction":"versicolor-{version}"}}"#);
                        let mut seen = seen.lock().expect("no panic");
                        if answer.status != 200 || answer.text != right || generation.is_empty() {
                            seen.wrong.push(format!("{version} ({generation}): {} {}", answer.status, answer.text));
                        }
                        *seen.answers.entry(version).or_default() += 1;
                        *seen.generations.entry(generation).or_default() += 1;
                    }
                })
            })
            .collect();
        Self { done, seen, clients }
    }

    /// Answers of this version so far.
    pub fn answered(&self, version: &str) -> u64 {
        self.seen.lock().expect("no panic").answers.get(version).copied().unwrap_or(0)
    }

    /// Waits for an answer that is asked for only now, from this version.
    pub async fn hears(&self, version: &str) {
        let before = self.answered(version);
        let what = format!("version {version} answers");
        crate::support::eventually(&what, || async { self.answered(version) > before + 4 }).await;
    }

    /// Ends it. Every answer must have been right. Gives how many generations answered.
    pub async fn end(self) -> usize {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no panic");
        }
        let seen = self.seen.lock().expect("no panic");
        assert!(
            seen.wrong.is_empty(),
            "{} wrong, the first: {:?}",
            seen.wrong.len(),
            &seen.wrong[..seen.wrong.len().min(3)]
        );
        assert!(seen.answers.values().sum::<u64>() > 20, "{:?}", seen.answers);
        seen.generations.len()
    }
}
