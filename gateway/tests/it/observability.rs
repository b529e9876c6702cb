//! Metrics, request ids and documents.

use serde_json::{Value, json};

use crate::support::{Gateway, demo_row};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_how_they_end() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row();
    for _ in 0..3 {
        assert_eq!(gateway.predict(row.to_string()).await.status, 200);
    }
    assert_eq!(gateway.predict(json!([row, row]).to_string()).await.status, 200);
    assert_eq!(gateway.predict("{}").await.status, 422);
    let model = "model=\"modelo_covertype_vf\"";
    for (series, value) in [
        (format!("modelgate_requests_total{{{model},outcome=\"success\",version=\"1\"}}"), 4.0),
        (format!("modelgate_requests_total{{{model},outcome=\"invalid\",version=\"1\"}}"), 1.0),
        (format!("modelgate_request_rows_sum{{{model},version=\"1\"}}"), 5.0),
        (format!("modelgate_request_duration_seconds_count{{{model},version=\"1\"}}"), 4.0),
        (format!("modelgate_queue_duration_seconds_count{{{model},version=\"1\"}}"), 4.0),
        (format!("modelgate_stage_duration_seconds_count{{{model},stage=\"predict\",version=\"1\"}}"), 4.0),
        (format!("modelgate_model_duration_seconds_count{{{model},version=\"1\"}}"), 4.0),
        (format!("nv_inference_request_success{{{model},version=\"1\"}}"), 4.0),
        (format!("nv_inference_count{{{model},version=\"1\"}}"), 5.0),
        (format!("nv_inference_exec_count{{{model},version=\"1\"}}"), 4.0),
        (format!("nv_inference_pending_request_count{{{model},version=\"1\"}}"), 0.0),
        ("modelgate_http_requests_total{route=\"/predict\",status=\"200\"}".into(), 4.0),
        ("modelgate_http_requests_total{route=\"/predict\",status=\"422\"}".into(), 1.0),
        ("modelgate_workers".into(), 2.0),
        ("modelgate_queue_depth".into(), 0.0),
    ] {
        assert_eq!(gateway.metric(&series).await, Some(value), "{series}");
    }
    let text = gateway.get("/metrics").await.text;
    for family in [
        "modelgate_build_info{",
        "modelgate_generation_info{",
        "modelgate_instances{",
        "modelgate_instance_memory_bytes{",
        "modelgate_model_memory_bytes{",
        "process_resident_memory_bytes ",
        "nv_inference_request_failure{",
        "nv_inference_request_duration_us{",
        "nv_inference_queue_duration_us{",
        "nv_inference_compute_input_duration_us{",
        "nv_inference_compute_infer_duration_us{",
        "nv_inference_compute_output_duration_us{",
    ] {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family} is not in\n{text}");
    }
}

/// Names of series and labels without their values.
fn series(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_adds_no_labels() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row();
    // Each kind of request once, so that their series are there.
    let hostile = async |number: usize| {
        let name = format!("evil-{number}\"\\\n{{}}");
        let mut named = row.clone();
        named["model"] = name.as_str().into();
        assert_eq!(gateway.predict(named.to_string()).await.status, 404);
        let mut extra = row.clone();
        extra[&name] = 1.into();
        assert_eq!(gateway.predict(extra.to_string()).await.status, 422);
        assert_eq!(gateway.get(&format!("/evil/{number}")).await.status, 404);
        assert_eq!(gateway.get(&format!("/v2/models/evil-{number}")).await.status, 404);
        let method = reqwest::Method::from_bytes(format!("EVIL{number}").as_bytes()).expect("a method");
        assert_eq!(gateway.method(method, "/predict").await.status, 405);
        let kind = format!("evil/{number}");
        assert_eq!(gateway.post("/predict", Vec::new(), &[("content-type", &kind)]).await.status, 415);
        let id = format!("evil-{number}");
        let answer = gateway.post("/predict", row.to_string().into(), &[("x-request-id", &id)]).await;
        assert_eq!(answer.header("x-request-id"), id);
    };
    hostile(0).await;
    _ = gateway.get("/metrics").await;
    let before = series(&gateway.get("/metrics").await.text);
    for number in 1..20 {
        hostile(number).await;
    }
    assert_eq!(series(&gateway.get("/metrics").await.text), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_kept_or_made() {
    let gateway = Gateway::demo(|_| {}).await;
    let post = async |id: &str| {
        let answer = gateway.post("/predict", demo_row().to_string().into(), &[("x-request-id", id)]).await;
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(post("abc-123").await, "abc-123");
    assert_ne!(post("with space").await, "with space");
    assert_ne!(post(&"x".repeat(500)).await, "x".repeat(500));
    let first = gateway.get("/healthz").await.header("x-request-id").to_owned();
    assert_ne!(gateway.get("/healthz").await.header("x-request-id"), first);
    assert!(!gateway.get("/nothing").await.header("x-request-id").is_empty(), "errors have one, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_example_is_a_request_that_works() {
    let gateway = Gateway::demo(|_| {}).await;
    let document = gateway.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    let content = &document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"];
    let example = if content["example"].is_null() {
        let examples = content["examples"].as_object().expect("an example");
        examples.values().next().map(|example| example["value"].clone()).expect("an example")
    } else {
        content["example"].clone()
    };
    assert_eq!(example["Elevation"], 2723, "{content}");
    assert_eq!(gateway.predict(example.to_string()).await.json(), json!({ "prediction": 2 }));
    let text = document.to_string();
    for words in ["Soil_Type", "C7746", "Wilderness_Area", "modelo_covertype_vf"] {
        assert!(text.contains(words), "{words} is not told");
    }
    let page = gateway.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.header("content-security-policy").is_empty());
    let _: Value = document;
}
