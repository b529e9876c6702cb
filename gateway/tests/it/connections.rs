//! Connections end, over HTTP/2 as over HTTP/1, and health answers whatever the others do.

use std::{
    thread,
    time::{Duration, Instant},
};

use h2::client::{self, SendRequest};
use modelgate::memory::{Claim, Permit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use crate::support::{Gateway, PATIENCE, demo_row, eventually, grpc};

const HEALTH: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(&gateway.address).await.expect("connected")
}

/// The bytes that come until the other end closes, which must not take long.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed in time").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same for a request.
async fn asked(mut stream: TcpStream, request: &[u8]) -> String {
    // The server may close before all of it is sent.
    _ = stream.write_all(request).await;
    rest(stream).await
}

/// A client of HTTP/2 that answers pings, and the end of its connection.
async fn multiplexed(gateway: &Gateway, window: u32) -> (SendRequest<bytes::Bytes>, JoinHandle<()>) {
    let stream = connect(gateway).await;
    let (send, connection) =
        client::Builder::new().initial_window_size(window).handshake(stream).await.expect("a handshake");
    let end = tokio::spawn(async move { _ = connection.await });
    (send, end)
}

async fn ends(connection: JoinHandle<()>, what: &str) {
    tokio::time::timeout(PATIENCE, connection)
        .await
        .unwrap_or_else(|_| panic!("still open: {what}"))
        .expect("no panic");
}

fn post(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://x{path}"))
        .header("content-type", "application/json")
        .body(())
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_too_little_ends() {
    let gateway = Gateway::demo(|args| args.header_timeout = Some(1)).await;
    // Begins as HTTP/2 does, for some bytes, and goes on no further.
    for first in [&b"P"[..], b"PRI * HTTP/2.0\r\n\r\nSM"] {
        assert_eq!(asked(connect(&gateway).await, first).await, "");
    }
    let (send, connection) = multiplexed(&gateway, 1 << 16).await;
    ends(connection, "no stream was ever opened, pings are answered").await;
    drop(send);
    let (send, connection) = multiplexed(&gateway, 1 << 16).await;
    let mut ready = send.ready().await.expect("ready");
    let live = http::Request::get("http://x/v2/health/live").body(()).expect("a request");
    let (answer, _) = ready.send_request(live, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    ends(connection, "its only stream ended").await;
    drop(ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_ends_the_connection_and_its_memory_is_given_back() {
    let gateway = Gateway::demo(|args| args.write_timeout = Some(1)).await;
    let row = demo_row();
    let many = json!(vec![row.clone(); 2_000]).to_string();
    for (window, body) in [(0, row.to_string()), (5, row.to_string()), (0, many.clone()), (70_000, many)] {
        let (send, connection) = multiplexed(&gateway, window).await;
        let mut answers = Vec::new();
        let mut send = send;
        for _ in 0..5 {
            // The connection may end while later ones are asked for.
            let Ok(ready) = send.clone().ready().await else { break };
            send = ready;
            let Ok((answer, mut upload)) = send.send_request(post("/predict?outputs=all"), false) else { break };
            _ = upload.send_data(body.clone().into(), true);
            // With the body of the answer, of which nothing is read.
            let Ok(answer) = answer.await else { break };
            answers.push(answer);
        }
        assert!(!answers.is_empty() && answers.iter().all(|answer| answer.status() == 200));
        ends(connection, &format!("a window of {window}, {} bytes sent", body.len())).await;
        drop(answers);
        eventually("memory is given back", || async { gateway.app.memory.used() == 0 }).await;
    }
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_again_and_again_end_the_connection() {
    let gateway = Gateway::demo(|_| {}).await;
    let (mut send, connection) = multiplexed(&gateway, 1 << 16).await;
    let mut opened = 0;
    let flood = async {
        while let Ok(ready) = send.clone().ready().await {
            send = ready;
            let Ok((_answer, mut upload)) = send.send_request(post("/predict"), false) else { break };
            // So that the server begins it first.
            tokio::task::yield_now().await;
            upload.send_reset(h2::Reason::CANCEL);
            opened += 1;
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("refused in time");
    ends(connection, "resets").await;
    eventually("memory is given back", || async { gateway.app.memory.used() == 0 }).await;
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
}

/// Each stream has begun at the server before it is reset: only the count of resets ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_the_connection_within_a_few_hundred() {
    let gateway = Gateway::demo(|_| {}).await;
    let (mut send, connection) = multiplexed(&gateway, 1 << 16).await;
    let mut opened = 0;
    let flood = async {
        'rounds: while opened < 20_000 {
            let mut streams = Vec::new();
            for _ in 0..50 {
                let Ok(ready) = send.clone().ready().await else { break 'rounds };
                send = ready;
                let Ok(stream) = send.send_request(post("/predict"), false) else { break 'rounds };
                streams.push(stream);
            }
            let Ok(ready) = send.clone().ready().await else { break };
            send = ready;
            let health = http::Request::get("http://localhost/v2/health/live").body(()).expect("a request");
            let Ok((answer, _)) = send.send_request(health, true) else { break };
            if answer.await.is_err() {
                break;
            }
            for (_, upload) in &mut streams {
                upload.send_reset(h2::Reason::CANCEL);
            }
            opened += streams.len();
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("refused in time");
    ends(connection, "resets").await;
    assert!((200..2_000).contains(&opened), "{opened} streams were opened and reset");
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_when_all_places_are_taken() {
    let gateway = Gateway::demo(|args| args.max_connections = std::num::NonZeroUsize::new(2)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&gateway).await;
        stream.write_all(HEALTH).await.expect("sent");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        held.push(stream);
    }
    // More of them than are kept in reserve.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(&gateway).await);
    }
    for path in ["/v2/health/live", "/v2/health/ready", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = asked(connect(&gateway).await, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:.200}");
    }
    let row = demo_row().to_string();
    let request = format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{row}", row.len());
    let answer = asked(connect(&gateway).await, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    drop((held, silent));
    eventually("a place is free", || async {
        asked(connect(&gateway).await, request.replacen("Host: x", "Host: x\r\nConnection: close", 1).as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_takes_its_share_of_places_and_old_connections_close() {
    let gateway = Gateway::demo(|args| {
        args.max_connections_per_address = Some(2);
        args.max_connection_age = Some(2);
        args.drain_timeout = Some(1);
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&gateway).await;
        stream.write_all(HEALTH).await.expect("sent");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        open.push(stream);
    }
    assert_eq!(asked(connect(&gateway).await, HEALTH).await, "", "a third from here");
    // They are closed although they are not idle for long.
    for stream in open {
        rest(stream).await;
    }
    eventually("there is room again", || async {
        let request = [&HEALTH[..HEALTH.len() - 2], b"Connection: close\r\n\r\n"].concat();
        asked(connect(&gateway).await, &request).await.starts_with("HTTP/1.1 200")
    })
    .await;
}

/// Bodies that stall hold no more than what has come of them.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_hold_up_nobody() {
    let gateway = Gateway::demo(|args| {
        args.body_memory = Some("8MiB".into());
        args.body_timeout = Some(60);
    })
    .await;
    let head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut stream = connect(&gateway).await;
        stream.write_all(&[&head[..], b"5\r\n{\"inp\r\n"].concat()).await.expect("sent");
        stalled.push(stream);
    }
    eventually("they are counted", || async { gateway.app.memory.used() >= 64 * 4096 }).await;
    let before = Instant::now();
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
    let large = json!(vec![demo_row(); 2_000]).to_string();
    assert_eq!(gateway.predict(large.clone()).await.status, 200);
    // These fill what there is for bodies that are coming, and make room for those that do come.
    for _ in 0..4 {
        let mut stream = connect(&gateway).await;
        let piece = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
        // Refused ones may be closed before all was sent.
        _ = stream.write_all(&[&head[..], piece.as_bytes()].concat()).await;
        stalled.push(stream);
    }
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
    eventually("uploads that take long make room", || async { gateway.predict(large.clone()).await.status == 200 })
        .await;
    assert!(before.elapsed() < Duration::from_secs(50), "nothing waited for the uploads to time out");
    drop(stalled);
    eventually("memory is given back", || async { gateway.app.memory.used() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_memory_is_told_and_small_requests_go_on() {
    let gateway = Gateway::demo(|args| args.body_memory = Some("8MiB".into())).await;
    let large = json!(vec![demo_row(); 2_000]).to_string();
    // Messages of one raw tensor: zeros. The answer to a short one comes after all of it was sent, which curl 7 needs.
    let (short, long) = ((&[0x3a, 0x80, 0x40][..], 8 << 10), (&[0x3a, 0x80, 0x80, 0x80, 0x01][..], 2 << 20));
    let infer = |gateway: &Gateway, (head, zeros): (&[u8], usize)| {
        let address = gateway.address.clone();
        let message = [head, &vec![0; zeros]].concat();
        let (sender, receiver) = oneshot::channel();
        thread::spawn(move || sender.send(grpc(&address, "ModelInfer", &message, &[]).0));
        receiver
    };
    let mut others = Permit::new(&gateway.app.memory);
    others.cover(7 << 20, Claim::Whole).expect("room");
    let answer = gateway.predict(large.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{}", answer.text);
    assert_eq!(infer(&gateway, short).await.expect("no panic"), "14", "UNAVAILABLE");
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
    assert_eq!(gateway.get("/v2/health/ready").await.status, 200);
    assert!(gateway.metric("modelgate_request_memory_bytes").await >= Some(7.0 * 1_048_576.0));
    drop(others);
    assert_eq!(gateway.predict(large).await.status, 200);
    // It names no model.
    assert_eq!(infer(&gateway, long).await.expect("no panic"), "5", "NOT_FOUND");
    eventually("memory is given back", || async { gateway.app.memory.used() == 0 }).await;
}
