//! Start, readiness and the orderly end.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Gateway, demo_row, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_first_and_requests_in_flight_finish() {
    let mut gateway = Gateway::demo(|args| args.drain_delay = Some(1)).await;
    assert_eq!(gateway.get("/v2/health/ready").await.json(), json!({ "ready": true }));
    // A request whose body is only half there when the drain begins.
    let body = demo_row().to_string();
    let mut stream = TcpStream::connect(&gateway.address).await.expect("connected");
    let head = format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&body.as_bytes()[..20]).await.expect("sent");

    gateway.stop();
    eventually("readiness is false", || async { gateway.get("/v2/health/ready").await.status == 503 }).await;
    assert_eq!(gateway.get("/v2/health/ready").await.json(), json!({ "ready": false }));
    // Until load balancers have noticed, requests are still served.
    assert_eq!(gateway.predict(body.clone()).await.status, 200);
    eventually("the listener is closed", || async { TcpStream::connect(&gateway.address).await.is_err() }).await;
    stream.write_all(&body.as_bytes()[20..]).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"prediction":2}"#), "{answer}");
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_hold_up_the_end() {
    let gateway = Gateway::demo(|_| {}).await;
    let _idle = TcpStream::connect(&gateway.address).await.expect("connected");
    assert_eq!(gateway.get("/healthz").await.status, 200);
    gateway.stopped().await;
}
