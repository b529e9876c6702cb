//! Connections of HTTP/2 and the memory and places that they take, measured on a process of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    real::Served,
    support::{Gateway, eventually},
};

fn serve() -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command
        .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--workers", "2", "--io-threads", "1"])
        .args(["--max-instances", "32", "--access-log", "0", "--body-memory", "32MiB"])
        .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")])
        .stderr(Stdio::null());
    Served::start(&mut command)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header line whose name is this entry of the static table, or the text.
fn line(name: u8, value: &str) -> Vec<u8> {
    [&[name, u8::try_from(value.len()).expect("short")], value.as_bytes()].concat()
}

/// A connection with so many streams that stay open, of which the client takes no bytes.
fn streams(address: &str, count: u32, method: u8, path: &str, more: &[u8], ends: bool) -> TcpStream {
    let head = [&[method, 0x86][..], &line(4, path), &line(1, "localhost"), more].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    bytes.extend(frame(4, 1, 0, &[]));
    for stream in 0..count {
        bytes.extend(frame(1, if ends { 5 } else { 4 }, 2 * stream + 1, &head));
    }
    let mut socket = TcpStream::connect(address).expect("connected");
    // It may end the connection early.
    _ = socket.write_all(&bytes);
    socket
}

/// The memory that is added once the connections have been read, in bytes.
async fn added(served: &Served, before: usize) -> usize {
    // Health answers on the only I/O thread after what was sent before.
    for _ in 0..3 {
        let url = format!("http://{}/v2/health/live", served.address);
        assert_eq!(crate::support::client().get(url).send().await.expect("an answer").status(), 200);
    }
    served.memory("VmRSS").saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_single_bytes_take_little() {
    let served = serve();
    let before = served.memory("VmRSS");
    // `accept-charset` without a value, by one byte each.
    let open: Vec<_> = (0..4).map(|_| streams(&served.address, 256, 0x83, "/predict", &[0x8f; 1_350], false)).collect();
    let added = added(&served, before).await;
    assert!(added <= 48 << 20, "{added} bytes");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_nobody_takes_take_little() {
    let served = serve();
    let before = served.memory("VmRSS");
    let open: Vec<_> = (0..8).map(|_| streams(&served.address, 250, 0x82, "/openapi.json", &[], true)).collect();
    let added = added(&served, before).await;
    assert!(added <= 64 << 20, "{added} bytes");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_streams_leave_places_to_other_connections_and_end() {
    let gateway = Gateway::demo(|args| args.header_timeout = Some(2)).await;
    let grpc = [&[0x0f, 0x10][..], &line(0, "application/grpc")[1..]].concat();
    let watch = "/grpc.health.v1.Health/Watch";
    let infer = "/inference.GRPCInferenceService/ModelStreamInfer";
    let _greedy: Vec<_> = (0..16).map(|_| streams(&gateway.address, 256, 0x83, infer, &grpc, false)).collect();
    let _watches: Vec<_> = (0..4).map(|_| streams(&gateway.address, 250, 0x83, watch, &grpc, false)).collect();
    eventually("the streams end", || async { gateway.app.memory.used() < 32 << 20 }).await;
    let ask = || crate::support::grpc(&gateway.address, "ModelStreamInfer", &[], &[]);
    // The message names no model, which is told in its answer.
    assert_eq!(tokio::task::block_in_place(ask).0, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_are_refused() {
    let gateway = Gateway::demo(|_| {}).await;
    let mut socket = TcpStream::connect(&gateway.address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    socket.write_all(b"GET /v2 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("one Host header"), "{answer}");
}
