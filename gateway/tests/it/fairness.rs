//! Models beside each other: a flood of requests to one, and runs of one that do not end, cost that one alone.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use modelgate::{
    artifact_cache::ArtifactCache,
    bundle::Bundle,
    catalog::Catalog,
    config::ServeArgs,
    generation::Generation,
    metrics::Metrics,
    server::Server,
    tensor::Batch,
    verified,
    wasm::{
        cache::CodeCache,
        engine::{PoolSize, WasmEngine},
        instance::{ChainError, TrapCause},
        module::Compiler,
    },
};
use modelgate_columns::{Reader, Values};
use modelgate_onnx::Session;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{Answer, BundleFolder, Gateway, args, client, demo_row, eventually};

/// More rows than are run where a request was read, so that a worker has to.
const ROWS: usize = 1_100;

const HOUR: &str = "[limits]\ndeadline_ms = 3600000";

fn unruly(name: &str, manifest: &str) -> BundleFolder {
    BundleFolder::unruly(name, r#"{"do":"by-row"}"#, manifest)
}

fn rows(model: &str) -> String {
    let rows: Vec<_> = (0..ROWS).map(|x| json!({ "model": model, "act": "", "x": x })).collect();
    Value::from(rows).to_string()
}

async fn is_served(gateway: &Gateway, model: &str) {
    let answer = gateway.predict(rows(model)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["predictions"][ROWS - 1].as_f64(), Some(ROWS as f64 - 1.0), "{:.200}", answer.text);
}

fn spawn_loop(gateway: &Arc<Gateway>, model: &str) -> JoinHandle<u16> {
    let (gateway, body) = (Arc::clone(gateway), json!({ "model": model, "act": "loop", "x": 1.0 }).to_string());
    tokio::spawn(async move { gateway.predict(body).await.status.as_u16() })
}

async fn depth(gateway: &Gateway, model: &str) -> Option<f64> {
    gateway.metric(&format!("modelgate_model_queue_depth{{model=\"{model}\",version=\"1\"}}")).await
}

/// Waits until so many runs of a model are on workers, and none waits.
async fn running(gateway: &Gateway, model: &str, count: f64) {
    let pending = format!("nv_inference_pending_request_count{{model=\"{model}\",version=\"1\"}}");
    eventually("they run", || async {
        gateway.metric(&pending).await == Some(count)
            && gateway.metric("modelgate_handovers_total{model=\"loops\",version=\"1\"}").await >= Some(1.0)
            && depth(gateway, model).await == Some(0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_model_is_its_own_503() {
    let (loops, calm) = (unruly("loops", "[limits]\ndeadline_ms = 3000"), unruly("calm", ""));
    let gateway = Gateway::serving(&[loops.path(), calm.path()], |args| {
        args.workers = NonZeroUsize::new(1);
        args.queue = NonZeroUsize::new(4);
    })
    .await;
    let gateway = Arc::new(gateway);
    let mut flood = vec![spawn_loop(&gateway, "loops")];
    running(&gateway, "loops", 1.0).await;
    flood.extend((0..9).map(|_| spawn_loop(&gateway, "loops")));
    eventually("the queue is full", || async { depth(&gateway, "loops").await == Some(4.0) }).await;
    // The worker is held up and the queue full of the other model's requests: the last of them makes room.
    is_served(&gateway, "calm").await;
    assert_eq!(depth(&gateway, "loops").await, Some(3.0));
    let mut statuses = Vec::new();
    for task in flood {
        statuses.push(task.await.expect("an answer"));
    }
    assert!(statuses.iter().all(|status| matches!(status, 503 | 504)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 6, "{statuses:?}");
    let shed = |model: &str| format!("modelgate_requests_total{{model=\"{model}\",outcome=\"shed\",version=\"1\"}}");
    assert_eq!(gateway.metric(&shed("loops")).await, Some(6.0));
    assert_eq!(gateway.metric(&shed("calm")).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_large_requests_leaves_the_other_model_alone() {
    let calm = unruly("calm", "");
    let gateway = Gateway::serving(&[calm.path()], |args| {
        args.demo = Some(true);
        args.workers = NonZeroUsize::new(1);
        args.queue = NonZeroUsize::new(8);
    })
    .await;
    let gateway = Arc::new(gateway);
    let mut row = demo_row();
    row["model"] = "modelo_covertype_vf".into();
    let body = Value::from(vec![row; ROWS]).to_string();
    let (done, shed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let flood: Vec<_> = (0..32)
        .map(|_| {
            let (gateway, done, shed) = (Arc::clone(&gateway), Arc::clone(&done), Arc::clone(&shed));
            let body = body.clone();
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let status = gateway.predict(body.clone()).await.status.as_u16();
                    assert!(matches!(status, 200 | 503), "{status}");
                    shed.fetch_add(u32::from(status == 503), Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("the flood is shed", || async { shed.load(Ordering::Relaxed) > 0 }).await;
    for _ in 0..30 {
        is_served(&gateway, "calm").await;
    }
    done.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.expect("it was answered");
    }
}

/// Two requests that take an hour each hold both workers; a substitute serves the rest, until they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn runs_without_end_stop_no_other_model_and_end_with_their_callers() {
    let (loops, calm) = (unruly("loops", HOUR), unruly("calm", HOUR));
    let gateway = Arc::new(Gateway::serving(&[loops.path(), calm.path()], |_| {}).await);
    let mut endless = Vec::new();
    for count in 1..=2 {
        endless.push(spawn_loop(&gateway, "loops"));
        running(&gateway, "loops", f64::from(count)).await;
    }
    for _ in 0..3 {
        is_served(&gateway, "calm").await;
    }
    let substitutes = || async { gateway.metric("modelgate_substitute_workers").await };
    assert!(substitutes().await >= Some(1.0), "{:?}", substitutes().await);
    // The callers go away, and what they asked for ends.
    for task in endless {
        task.abort();
    }
    eventually("the workers are back", || async { substitutes().await == Some(0.0) }).await;
    is_served(&gateway, "loops").await;
    let cancelled = "modelgate_traps_total{cause=\"cancelled\",model=\"loops\",version=\"1\"}";
    assert_eq!(gateway.metric(cancelled).await, Some(2.0));
    let stop = Arc::into_inner(gateway).expect("nobody else has it");
    tokio::time::timeout(Duration::from_secs(30), stop.stopped()).await.expect("it drains");
}

/// One node of a graph goes on for seconds after the deadline, which nothing can stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_node_holds_its_own_model_and_no_other() {
    let graph = std::fs::read("tests/data/long_node.onnx").expect("the graph");
    let (long, calm) = (BundleFolder::model_alone("long", &graph), unruly("calm", ""));
    long.edit_manifest("[model]", "[limits]\ndeadline_ms = 800\nmemory = \"256MiB\"\n[model]");
    let gateway = Gateway::serving(&[long.path(), calm.path()], |args| args.workers = NonZeroUsize::new(1)).await;
    let gateway = Arc::new(gateway);
    let ask = |rows: usize| {
        let input = json!({ "name": "x", "shape": [rows, 1], "datatype": "FP32", "data": vec![1.0; rows] });
        let (gateway, body) = (Arc::clone(&gateway), json!({ "inputs": [input] }).to_string());
        tokio::spawn(async move { gateway.post("/v2/models/long/infer", body.into_bytes(), &[]).await })
    };
    let status = |task: JoinHandle<Answer>| async move { task.await.expect("an answer").status.as_u16() };
    let first = ask(2_500);
    running_long(&gateway).await;
    assert_eq!(status(first).await, 504);
    // What waits for the thread that it holds passes its own deadline; others are served meanwhile.
    let waiting = ask(2_000);
    let served = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { is_served(&gateway, "calm").await }
    });
    eventually("the run is stuck, and its thread has a substitute", || async {
        gateway.metric("modelgate_stuck_runs_total").await == Some(1.0)
            && gateway.metric("modelgate_substitute_workers").await == Some(1.0)
    })
    .await;
    let refused = ask(2_000).await.expect("an answer");
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{}", refused.text);
    served.await.expect("it is served");
    assert_eq!(status(waiting).await, 504);
    eventually("it is served again", || async { status(ask(1)).await == 200 }).await;
    eventually("the worker is back", || async { gateway.metric("modelgate_substitute_workers").await == Some(0.0) })
        .await;
}

/// A gateway of one model: the signature of `unruly`, and a native chain that gets the first `act`, each `x` and the
/// deadline.
struct Native {
    generation: Arc<Generation>,
    client: Client,
    address: String,
}

impl Native {
    async fn serving(
        manifest: &str,
        change: impl FnOnce(&mut ServeArgs),
        run: impl Fn(&[u8], &[f64], Instant) -> Result<(), ChainError> + Send + Sync + 'static,
    ) -> Self {
        let folder = unruly("native", manifest);
        let metrics = Arc::new(Metrics::new().expect("series"));
        let engine = WasmEngine::new(PoolSize { instances: 8, ..PoolSize::default() }).expect("an engine");
        let artifacts = ArtifactCache::new(Compiler::new(engine, CodeCache::off()));
        let loaded = verified::load(&|| Bundle::read(folder.path()), &artifacts, &metrics, None).expect("a generation");
        let columns = loaded.generation.signature.inputs.clone();
        let chain = move |_: Option<&mut Session>, batch: Batch, deadline: Instant| {
            let mut reader = Reader::new(batch.rows, &batch.words);
            let act = reader.next(&columns[0]).expect("a column").values;
            let x = reader.next(&columns[1]).expect("a column").values;
            let (Values::Bytes(act), Values::F64(x)) = (act, x) else {
                return Err(ChainError::Failed("columns".into()));
            };
            run(act.get(0).unwrap_or_default(), x, deadline)?;
            Ok(x.iter().map(|x| x.to_bits()).collect())
        };
        let generation = Arc::new(loaded.generation.with_native_chain(Arc::new(chain)));
        let catalog = Catalog::default();
        catalog.publish(Arc::clone(&generation));
        let mut args = args();
        args.demo = Some(true);
        change(&mut args);
        let config = args.resolve().expect("a configuration");
        let listener = TcpListener::bind(config.listen).await.expect("a port");
        let server = Server::with_catalog(&config, listener, catalog, metrics).expect("a server");
        let address = server.address().expect("an address").to_string();
        tokio::spawn(server.run(std::future::pending()));
        Self { generation, client: client(), address }
    }

    /// Asks for so many rows that are all the same.
    async fn ask(&self, act: &str, x: f64, rows: usize, priority: u64) -> u16 {
        let inputs = json!([
            { "name": "act", "shape": [rows], "datatype": "BYTES", "data": vec![act; rows] },
            { "name": "x", "shape": [rows], "datatype": "FP64", "data": vec![x; rows] },
        ]);
        let body = json!({ "inputs": inputs, "parameters": { "priority": priority } });
        let request = self.client.post(format!("http://{}/v2/models/native/infer", self.address));
        request.json(&body).send().await.expect("an answer").status().as_u16()
    }
}

/// A run that goes on after it should have been stopped holds a thread that reads sockets once, and never again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stopped_is_not_run_where_it_was_read() {
    // As one long node: it looks at no deadline.
    let run = |act: &[u8], _: &[f64], deadline: Instant| {
        if act == b"hold" {
            thread::sleep(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(400));
            return Err(ChainError::Trap { cause: TrapCause::Deadline, detail: String::new() });
        }
        Ok(())
    };
    let native = Native::serving("[limits]\ndeadline_ms = 500", |_| {}, run).await;
    for _ in 0..2 {
        for _ in 0..200 {
            assert_eq!(native.ask("", 1.5, 1, 0).await, 200);
        }
        assert_eq!(native.ask("hold", 1.5, 1, 0).await, 504);
    }
    let handovers = native.generation.metrics.handovers.get();
    assert_eq!(handovers, 1, "the second one was read and run by different threads");
}

/// The order in which one worker runs three requests that wait behind another: one of the lowest priority; later one of
/// the lowest and one of the highest.
async fn order(is_honoured: bool) -> Vec<f64> {
    let (order, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(2)));
    let run = {
        let (order, gate) = (Arc::clone(&order), Arc::clone(&gate));
        move |act: &[u8], x: &[f64], _: Instant| {
            if act == b"gate" {
                gate.wait();
            } else {
                order.lock().expect("whole").push(x[0]);
            }
            Ok(())
        }
    };
    let change = |args: &mut ServeArgs| {
        args.workers = NonZeroUsize::new(1);
        args.request_priority = is_honoured.then_some(true);
    };
    let native = Arc::new(Native::serving("[batching]\nenabled = false", change, run).await);
    let ask = |act: &'static str, x: f64, priority: u64| {
        let native = Arc::clone(&native);
        tokio::spawn(async move { native.ask(act, x, ROWS, priority).await })
    };
    let (pending, queued) = (&native.generation.metrics.pending, &native.generation.metrics.queue_depth);
    let waiting = |count: i64| {
        let what = format!("{count} requests wait");
        async move { eventually(&what, || async { (pending.get(), queued.get()) == (count + 1, count) }).await }
    };
    let mut asked = vec![ask("gate", 0.0, 0)];
    waiting(0).await;
    asked.push(ask("", 1.0, 5));
    waiting(1).await;
    // The four levels between them count as a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    asked.push(ask("", 2.0, 5));
    waiting(2).await;
    asked.push(ask("", 3.0, 1));
    waiting(3).await;
    tokio::task::block_in_place(|| gate.wait());
    for task in asked {
        assert_eq!(task.await.expect("an answer"), 200);
    }
    let order = order.lock().expect("whole");
    order.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_counts_where_the_operator_says_so_and_ages() {
    let (ignored, honoured) = tokio::join!(order(false), order(true));
    assert_eq!(ignored, [1.0, 2.0, 3.0], "in order of arrival");
    assert_eq!(honoured, [1.0, 3.0, 2.0], "what has waited for a second goes before what has just come");
}

async fn running_long(gateway: &Gateway) {
    eventually("it runs", || async {
        gateway.metric("nv_inference_pending_request_count{model=\"long\",version=\"1\"}").await == Some(1.0)
            && depth(gateway, "long").await == Some(0.0)
    })
    .await;
}
