//! Full queues, passed deadlines, and clients that dawdle.

use std::{num::NonZeroUsize, sync::Arc, time::Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{BundleFolder, Gateway, PATIENCE, demo_row, eventually};

fn looping() -> String {
    json!({ "act": "loop", "x": 1.0 }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_sheds_and_health_still_answers() {
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "[limits]\ndeadline_ms = 4000");
    let gateway = Gateway::serving(&[unruly.path()], |args| {
        args.workers = NonZeroUsize::new(1);
        args.queue = NonZeroUsize::new(2);
    })
    .await;
    let gateway = Arc::new(gateway);
    let ask = || {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.predict(looping()).await })
    };
    // The worker takes one alone, before there are others that it could run with it.
    let mut busy = vec![ask()];
    eventually("the worker is busy", || async {
        gateway.metric("nv_inference_pending_request_count{model=\"unruly\",version=\"1\"}").await == Some(1.0)
            && gateway.metric("modelgate_queue_depth").await == Some(0.0)
    })
    .await;
    busy.extend((0..7).map(|_| ask()));
    eventually("the queue is full", || async { gateway.metric("modelgate_queue_depth").await == Some(2.0) }).await;
    let before = Instant::now();
    assert_eq!(gateway.get("/v2/health/live").await.status, 200);
    assert_eq!(gateway.get("/v2/health/ready").await.status, 200);
    assert!(before.elapsed().as_millis() < 1000, "health waited behind inference");
    let mut statuses = Vec::new();
    for task in busy {
        let answer = task.await.expect("an answer");
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), "1");
            assert!(answer.text.contains("capacity"), "{}", answer.text);
        }
        statuses.push(answer.status.as_u16());
    }
    assert!(statuses.contains(&503) && statuses.contains(&504), "{statuses:?}");
    let good = json!({ "act": "", "x": 2.0 }).to_string();
    eventually("it serves again", || async { gateway.predict(good.clone()).await.status == 200 }).await;
}

/// A request that waits past its deadline is answered then, and not run later.
#[tokio::test(flavor = "multi_thread")]
async fn expired_and_abandoned_requests_are_not_run() {
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "[limits]\ndeadline_ms = 1000");
    let gateway = Arc::new(Gateway::serving(&[unruly.path()], |args| args.workers = NonZeroUsize::new(1)).await);
    let started = Instant::now();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { gateway.predict(looping()).await.status.as_u16() })
        })
        .collect();
    for task in waiting {
        assert_eq!(task.await.expect("an answer"), 504);
    }
    // One after the other would take five seconds.
    assert!(started.elapsed().as_millis() < 4_000, "{:?}", started.elapsed());

    // A client that goes away while it waits is counted, and its work is not done.
    let blocker = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.predict(looping()).await.status.as_u16() }
    });
    // Not only admitted: what still waits would run together with what comes next.
    eventually("the worker is busy", || async {
        gateway.metric("nv_inference_pending_request_count{model=\"unruly\",version=\"1\"}").await == Some(1.0)
            && gateway.metric("modelgate_queue_depth").await == Some(0.0)
    })
    .await;
    let mut stream = TcpStream::connect(&gateway.address).await.expect("connected");
    let body = looping();
    let request = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    eventually("it waits", || async { gateway.metric("modelgate_queue_depth").await == Some(1.0) }).await;
    drop(stream);
    let series = "modelgate_requests_total{model=\"unruly\",outcome=\"cancelled\",version=\"1\"}";
    eventually("it is counted", || async { gateway.metric(series).await == Some(1.0) }).await;
    assert_eq!(blocker.await.expect("an answer"), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go() {
    let gateway = Gateway::demo(|args| {
        args.header_timeout = Some(1);
        args.body_timeout = Some(1);
    })
    .await;
    // A head that never ends.
    let mut head = TcpStream::connect(&gateway.address).await.expect("connected");
    head.write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("sent");
    // A body that never ends.
    let mut body = TcpStream::connect(&gateway.address).await.expect("connected");
    body.write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{").await.expect("sent");
    // Nothing at all.
    let mut silent = TcpStream::connect(&gateway.address).await.expect("connected");
    for (stream, words) in [(&mut head, ""), (&mut body, "408"), (&mut silent, "")] {
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("closed in time").ok();
        assert!(answer.contains(words), "{words}: {answer}");
    }
    assert_eq!(gateway.predict(demo_row().to_string()).await.json(), json!({ "prediction": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded() {
    let gateway = Gateway::demo(|_| {}).await;
    let many = (0..1_000).map(|place| format!("X-{place}: y\r\n")).collect::<Vec<_>>().concat();
    let long = format!("X-Long: {}\r\n", "y".repeat(200_000));
    for lines in [many, long] {
        let mut stream = TcpStream::connect(&gateway.address).await.expect("connected");
        let request = format!("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        // The server may close before all of it is sent.
        _ = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("answered").ok();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(gateway.get("/v2/health/live").await.status, 200);
}
