//! Calls that change what is served: for whom they are, where, and what they do.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    flowers::{flowers, place, row},
    support::{Gateway, demo_row, grpc},
};

const LOAD: &str = "/v2/repository/models/modelo_covertype_vf/load";

/// A name of a model in gRPC's messages that load and unload.
fn named(name: &str) -> Vec<u8> {
    [&[0x12, u8::try_from(name.len()).expect("short")], name.as_bytes()].concat()
}

/// As proxies do that tell nothing of the caller, and callers on the machine itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_public_port_answers_none_of_them() {
    let gateway = Gateway::demo(|_| {}).await;
    for header in
        [&[][..], &[("authorization", "Bearer ")], &[("host", "localhost")], &[("x-forwarded-for", "10.0.0.1")]]
    {
        for call in ["load", "unload", "rollback", "promote"] {
            let answer = gateway.public_post(&LOAD.replace("load", call), header).await;
            assert_eq!(answer.status, 403, "{call} {header:?}");
            assert!(
                answer.json()["error"].as_str().is_some_and(|words| words.contains("--admin-socket")),
                "{}",
                answer.text
            );
        }
    }
    let sources = gateway.client.get(gateway.url("/v2/repository/sources")).send().await.expect("an answer");
    assert_eq!(sources.status(), 403);
    for method in ["RepositoryModelLoad", "RepositoryModelUnload"] {
        assert_eq!(grpc(&gateway.address, method, &named("modelo_covertype_vf"), &[]).0, "7");
    }
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_answers_its_owner_without_a_token() {
    for token in [None, Some("s3cret".parse().expect("a token"))] {
        let gateway = Gateway::demo(|args| args.admin_token = token).await;
        let mode = fs::metadata(gateway.socket()).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(gateway.post(&LOAD.replace("load", "unload"), Vec::new(), &[]).await.status, 200);
        assert_eq!(gateway.predict(demo_row().to_string()).await.status, 503);
        assert_eq!(gateway.post(LOAD, Vec::new(), &[]).await.json()["version"], "1");
        assert_eq!(gateway.get("/v2/repository/sources").await.json(), json!({ "sources": [] }));
        // It is for these calls alone.
        let url = "http://localhost/predict";
        let answer = gateway.operator.post(url).body(demo_row().to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 404);
        // Over gRPC as well.
        let output = Command::new("curl")
            .args(["-s", "-D", "-", "-o", "/dev/null", "--http2-prior-knowledge", "--unix-socket"])
            .arg(gateway.socket())
            .args(["-H", "Content-Type: application/grpc", "-H", "TE: trailers", "--data-binary", "@-"])
            .arg("http://localhost/inference.GRPCInferenceService/RepositoryIndex")
            .output()
            .expect("curl");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/2 200"), "{output:?}");
        let socket = gateway.socket();
        gateway.stopped().await;
        assert!(!socket.exists(), "it goes with the gateway");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loopback_listener_keeps_proxies_and_pages_away() {
    let gateway = Gateway::demo(|args| args.admin_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let url = format!("http://{}{LOAD}", gateway.admin.as_deref().expect("a port"));
    assert_eq!(gateway.client.post(&url).send().await.expect("an answer").status(), 200);
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "gateway.example"),
        ("x-forwarded-proto", "https"),
        ("cf-connecting-ip", "10.0.0.1"),
        ("x-envoy-external-address", "10.0.0.1"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("referer", "http://evil.example/"),
        ("host", "evil.example"),
    ] {
        let answer = gateway.client.post(&url).header(name, value).send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
}

/// As a page does whose name was made to point to this machine.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_no_other_host_is_answered() {
    let gateway = Gateway::demo(|args| args.admin_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let admin = gateway.admin.as_deref().expect("a port");
    let status = |head: String| {
        let mut stream = TcpStream::connect(admin).expect("a connection");
        write!(stream, "{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status(format!("POST {LOAD} HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:8080")), "200");
    assert_eq!(status(format!("POST {LOAD} HTTP/1.1\r\nHost: localhost.")), "200");
    assert_eq!(status(format!("POST http://localhost{LOAD} HTTP/1.1\r\nHost: localhost")), "200");
    assert_eq!(status(format!("POST http://evil.example{LOAD} HTTP/1.1\r\nHost: localhost")), "403");
    assert_eq!(status(format!("POST {LOAD} HTTP/1.0")), "403");
    assert_eq!(status(format!("POST {LOAD} HTTP/1.0\r\nHost: localhost")), "403");
    for (host, expected) in [("localhost", "200"), ("evil.example", "403")] {
        // `:authority`, which takes the place of the header.
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge", "-X", "POST"])
            .args(["-H", &format!("Host: {host}"), &format!("http://{admin}{LOAD}")])
            .output()
            .expect("curl");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_they_need_it() {
    let gateway = Gateway::demo(|args| args.admin_token = Some("s3cret".parse().expect("a token"))).await;
    let unload = "/v2/repository/models/modelo_covertype_vf/unload";
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Basic s3cret")]] {
        assert_eq!(gateway.public_post(unload, headers).await.status, 403, "{headers:?}");
        assert_eq!(gateway.predict(demo_row().to_string()).await.status, 200);
    }
    let sources = gateway.client.get(gateway.url("/v2/repository/sources")).send().await.expect("an answer");
    assert_eq!(sources.status(), 403);
    let load = named("modelo_covertype_vf");
    assert_eq!(grpc(&gateway.address, "RepositoryModelLoad", &load, &[]).0, "7");
    assert_eq!(grpc(&gateway.address, "RepositoryModelLoad", &load, &["Authorization: Bearer s3cret"]).0, "0");
    assert_eq!(gateway.public_post(unload, &[("authorization", "Bearer s3cret")]).await.status, 200);
    assert_eq!(gateway.predict(demo_row().to_string()).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_may_have_a_port_of_their_own() {
    let gateway = Gateway::demo(|args| args.admin_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let load = "/v2/repository/models/modelo_covertype_vf/load";
    assert_eq!(gateway.public_post(load, &[]).await.status, 404);
    let url = format!("http://{}{load}", gateway.admin.as_deref().expect("a port"));
    let answer = gateway.client.post(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    // Over gRPC as well.
    let (main, admin) = (gateway.address.clone(), gateway.admin.clone().expect("a port"));
    let load = named("modelo_covertype_vf");
    assert_eq!(grpc(&main, "RepositoryModelLoad", &load, &[]).0, "7");
    assert_eq!(grpc(&admin, "RepositoryModelLoad", &load, &[]).0, "0");
    assert_eq!(grpc(&admin, "RepositoryModelUnload", &named("nobody"), &[]).0, "5");
    assert_eq!(grpc(&admin, "RepositoryModelUnload", &load, &["Via: 1.1 proxy"]).0, "7");
    assert_ne!(grpc(&admin, "ModelInfer", &[], &[]).0, "0");
    let url = format!("http://{}/predict", gateway.admin.as_deref().expect("a port"));
    assert_eq!(gateway.client.post(url).send().await.expect("an answer").status(), 404);
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_unloaded_and_loaded() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |_| {}).await;
    gateway.ready().await;
    assert_eq!(gateway.predict(row().to_string()).await.status, 200);
    let call = async |call: &str| {
        gateway.post(&format!("/v2/repository/models/iris/{call}"), b"{\"parameters\":{}}".to_vec(), &[]).await
    };
    assert_eq!(call("unload").await.status, 200);
    gateway.becomes("iris", "1", "UNAVAILABLE", "unloaded").await;
    let answer = gateway.predict(row().to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(gateway.get("/listar_modelos").await.json(), json!({ "modelos_disponibles": [] }));
    // Another model does not answer for it, nor does a newer version bring it back: only somebody does.
    place(&flowers("lily", "1"), &root.path().join("lily"));
    gateway.becomes("lily", "1", "READY", "").await;
    assert_eq!(gateway.predict(row().to_string()).await.status, 503);
    place(&flowers("iris", "2"), &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "unloaded").await;
    let loaded = call("load").await;
    assert_eq!((loaded.status.as_u16(), loaded.json()["version"].clone()), (200, json!("2")), "{}", loaded.text);
    assert_eq!(gateway.predict(row().to_string()).await.json(), json!({ "prediction": "versicolor-2" }));

    for (call, status) in [("load", 404), ("unload", 404), ("rollback", 404), ("promote", 404)] {
        let answer = gateway.post(&format!("/v2/repository/models/nobody/{call}"), Vec::new(), &[]).await;
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(call("promote").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_tells_what_is_known() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |args| {
        args.demo = Some(true);
    })
    .await;
    gateway.becomes("iris", "1", "READY", "").await;
    gateway.post("/v2/repository/models/iris/unload", Vec::new(), &[]).await;
    let names = |index: Value| -> Vec<String> {
        let entries = index.as_array().expect("a list").iter();
        entries
            .map(|entry| {
                format!("{} {}", entry["name"].as_str().expect("text"), entry["state"].as_str().expect("text"))
            })
            .collect()
    };
    let all = gateway.post("/v2/repository/index", b"{}".to_vec(), &[]).await.json();
    assert_eq!(names(all), ["iris UNAVAILABLE", "modelo_covertype_vf READY"]);
    let ready = gateway.post("/v2/repository/index", br#"{"ready":true}"#.to_vec(), &[]).await.json();
    assert_eq!(names(ready), ["modelo_covertype_vf READY"]);
    assert_eq!(gateway.post("/v2/repository/index", b"[".to_vec(), &[]).await.status, 400);
    // The bundle named on the command line is the default, whatever the sources have.
    assert_eq!(gateway.predict(demo_row().to_string()).await.json(), json!({ "prediction": 2 }));
}
