//! The model that a request is for, and that no way to name it takes the place of a feature.

use std::fs;

use serde_json::{Value, json};

use crate::{
    flowers::flowers,
    support::{BundleFolder, Gateway, demo_row},
};

/// The demo with its column of areas called `model`.
pub fn cars(name: &str) -> BundleFolder {
    let bundle = BundleFolder::copy_of("demo");
    bundle.edit_manifest("name = \"modelo_covertype_vf\"", &format!("name = \"{name}\""));
    for file in ["preprocess.json", "golden.json"] {
        let text = fs::read_to_string(bundle.file(file)).expect("text");
        bundle.replace(file, text.replace("\"Wilderness_Area\"", "\"model\"").as_bytes());
    }
    bundle
}

/// A row of that bundle.
fn car() -> Value {
    let mut row = demo_row();
    let area = row.as_object_mut().expect("an object").remove("Wilderness_Area").expect("an area");
    row["model"] = area;
    row
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_called_model_is_never_replaced() {
    let (cars, flowers) = (cars("cars"), flowers("flowers", "1"));
    let gateway = Gateway::serving(&[cars.path(), flowers.path()], |_| {}).await;
    // The default model has such a column: the key is its value, whatever other models are called.
    assert_eq!(gateway.predict(car().to_string()).await.json(), json!({ "prediction": 2 }));
    let mut named = car();
    named["model"] = "flowers".into();
    let answer = gateway.predict(json!([car(), named]).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-modelgate-version"), "1");
    assert_eq!(answer.json()["predictions"].as_array().map(Vec::len), Some(2), "both are rows of the default model");
    // On every surface, whichever place names the model.
    let row = json!({ "dataframe_records": [car()] }).to_string();
    for (path, body, headers) in [
        ("/predict/cars", car().to_string(), vec![JSON]),
        ("/predict?model=cars", car().to_string(), vec![JSON]),
        ("/predict", car().to_string(), vec![JSON, ("x-model", "cars")]),
        ("/predict/cars?model=cars", car().to_string(), vec![JSON, ("x-model", "cars")]),
        ("/invocations", row.clone(), vec![JSON, ("x-model", "cars")]),
        ("/invocations?model=cars", row.clone(), vec![JSON]),
        ("/models/cars/invocations", row.clone(), vec![JSON]),
        ("/v1/models/cars:predict", json!({ "instances": [car()] }).to_string(), vec![JSON, ("x-model", "cars")]),
    ] {
        let answer = gateway.post(path, body.into_bytes(), &headers).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(answer.text.contains('2'), "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_names_the_model_where_nothing_else_does() {
    let (cars, flowers) = (cars("cars"), flowers("flowers", "1"));
    let gateway = Gateway::serving(&[flowers.path(), cars.path()], |args| args.demo = Some(true)).await;
    let flower = crate::flowers::row();
    let with = |row: &Value, model: Value| {
        let mut row = row.clone();
        row["model"] = model;
        row.to_string()
    };
    let first = |row: &Value, model: &str| {
        let text = row.to_string();
        format!("{{\"model\":\"{model}\",{}", &text[1..])
    };
    for body in [
        flower.to_string(),
        with(&flower, "flowers".into()),
        with(&flower, Value::Null),
        first(&flower, "flowers"),
        format!(" {}\n", with(&flower, "flowers".into())),
    ] {
        let answer = gateway.predict(body.clone()).await;
        assert_eq!(answer.json(), json!({ "prediction": "versicolor-1" }), "{body}");
    }
    for body in [with(&demo_row(), "modelo_covertype_vf".into()), first(&demo_row(), "modelo_covertype_vf")] {
        assert_eq!(gateway.predict(body).await.json(), json!({ "prediction": 2 }));
    }
    // Escaped, and beside a value that only Python calls JSON.
    let escaped = with(&demo_row(), "modelo_covertype_vf".into()).replace("\"model\"", "\"\\u006dodel\"");
    assert_eq!(gateway.predict(escaped).await.json(), json!({ "prediction": 2 }));
    let body = with(&flower, "flowers".into()).replace("1.4", "NaN");
    assert_eq!(gateway.predict(body.clone()).await.status, 200, "{body}");
    // Of a model that has such a column the key can be one thing alone: the feature is missing, and told how to be sent.
    let answer = gateway.predict(with(&car(), "cars".into())).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.detail()[0]["loc"], json!(["body", "model"]));
    assert!(answer.text.contains("/predict/NAME"), "{}", answer.text);
    let answer = gateway.post("/predict/cars", car().to_string().into(), &[JSON]).await;
    assert_eq!(answer.json(), json!({ "prediction": 2 }), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_places_that_name_different_models_are_refused() {
    let (cars, flowers) = (cars("cars"), flowers("flowers", "1"));
    let gateway = Gateway::serving(&[flowers.path(), cars.path()], |_| {}).await;
    let flower = crate::flowers::row();
    let mut named = flower.clone();
    named["model"] = "cars".into();
    let scored = json!({ "dataframe_records": [flower] }).to_string();
    let tensors = json!({ "inputs": [] }).to_string();
    for (path, body, headers) in [
        ("/predict/flowers?model=cars", flower.to_string(), vec![JSON]),
        ("/predict/flowers", flower.to_string(), vec![JSON, ("x-model", "cars")]),
        ("/predict?model=flowers", flower.to_string(), vec![JSON, ("x-model", "cars")]),
        ("/predict?model=flowers&model=cars", flower.to_string(), vec![JSON]),
        ("/predict/flowers", named.to_string(), vec![JSON]),
        ("/predict", json!([flower, named]).to_string(), vec![JSON]),
        ("/predict", json!([named, flower, with_name(&flower, "flowers")]).to_string(), vec![JSON]),
        ("/models/flowers/invocations", scored.clone(), vec![JSON, ("x-model", "cars")]),
        ("/invocations?model=flowers", scored, vec![JSON, ("x-model", "cars")]),
        ("/v1/models/flowers:predict?model=cars", json!({ "instances": [flower] }).to_string(), vec![JSON]),
        ("/v2/models/flowers/infer", tensors, vec![JSON, ("x-model", "cars")]),
    ] {
        let answer = gateway.post(path, body.into_bytes(), &headers).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{path}: {} {}", answer.status, answer.text);
        assert!(answer.text.contains("cars"), "{path}: {}", answer.text);
    }
    let answer = gateway.post("/predict?outputs=all&model=flowers", flower.to_string().into(), &[JSON]).await;
    assert_eq!(answer.json()["prediction"], "versicolor-1", "{}", answer.text);
    let answer = gateway.post("/predict/nobody", flower.to_string().into(), &[JSON]).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
}

fn with_name(row: &Value, model: &str) -> Value {
    let mut row = row.clone();
    row["model"] = model.into();
    row
}

/// Another tenant's columns never change how a request is read: the same bodies, with and without a model beside that has
/// a column `model`.
#[tokio::test(flavor = "multi_thread")]
async fn other_models_change_nothing() {
    let (cars, flowers) = (cars("cars"), flowers("flowers", "1"));
    let alone = Gateway::serving(&[flowers.path()], |_| {}).await;
    let beside = Gateway::serving(&[flowers.path(), cars.path()], |_| {}).await;
    let flower = crate::flowers::row();
    for body in [flower.to_string(), with_name(&flower, "flowers").to_string(), with_name(&flower, "Rawah").to_string()]
    {
        let (one, other) = (alone.predict(body.clone()).await, beside.predict(body.clone()).await);
        assert_eq!((one.status, one.text), (other.status, other.text), "{body}");
    }
}

/// A default model that is not resident is asked for its columns once, and reads the key by them.
#[tokio::test(flavor = "multi_thread")]
async fn a_default_model_that_is_not_resident_has_its_feature_too() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::flowers::place(&cars("cars"), &folder.path().join("cars"));
    crate::flowers::place(&flowers("flowers", "1"), &folder.path().join("flowers"));
    let cache = tempfile::tempdir().expect("a folder");
    let source = format!("all={}", folder.path().display());
    let gateway = Gateway::sourcing(&[source], cache.path(), |args| {
        args.lazy_load = Some(true);
        args.default_model = Some("cars".into());
    })
    .await;
    gateway.ready().await;
    let answer = gateway.predict(car().to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "prediction": 2 })), "{}", answer.text);
}

/// The key names another model without the default model being loaded; a row that the named model refuses is the default
/// model's, if it has such a column.
#[tokio::test(flavor = "multi_thread")]
async fn a_default_model_is_not_loaded_to_read_the_name_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::flowers::place(&cars("cars"), &folder.path().join("cars"));
    crate::flowers::place(&flowers("flowers", "1"), &folder.path().join("flowers"));
    let cache = tempfile::tempdir().expect("a folder");
    let source = format!("all={}", folder.path().display());
    let gateway = Gateway::sourcing(&[source], cache.path(), |args| {
        args.lazy_load = Some(true);
        args.default_model = Some("cars".into());
    })
    .await;
    gateway.ready().await;
    let answer = gateway.predict(with_name(&crate::flowers::row(), "flowers").to_string()).await;
    assert_eq!(answer.json(), json!({ "prediction": "versicolor-1" }), "{}", answer.text);
    let index = gateway.post("/v2/repository/index", json!({}).to_string().into(), &[JSON]).await.json();
    let cars = index.as_array().expect("a list").iter().find(|model| model["name"] == "cars").expect("cars").clone();
    assert_ne!(cars["state"], "READY", "{index}");
    let mut named = car();
    named["model"] = "flowers".into();
    let answer = gateway.predict(named.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["prediction"].is_number(), "{}", answer.text);
}

/// A request that the default model answers takes no turn of the canary of the model that its feature happens to name.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_one_model_takes_no_turn_of_anothers_canary() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::flowers::place(&cars("cars"), &folder.path().join("cars"));
    crate::flowers::place(&flowers("flowers", "1"), &folder.path().join("flowers"));
    let cache = tempfile::tempdir().expect("a folder");
    let source = format!("all={}", folder.path().display());
    let gateway = Gateway::sourcing(&[source], cache.path(), |args| {
        args.lazy_load = Some(true);
        args.default_model = Some("cars".into());
        args.canary = Some(0.5);
        args.canary_requests = Some(1_000_000);
        args.canary_timeout = Some(600.0);
    })
    .await;
    gateway.ready().await;
    let flower = || gateway.post("/predict/flowers", crate::flowers::row().to_string().into(), &[JSON]);
    assert_eq!(flower().await.header("x-modelgate-version"), "1");
    crate::flowers::place(&flowers("flowers", "2"), &folder.path().join("flowers-2"));
    gateway.becomes("flowers", "2", "LOADING", "on trial").await;
    let mut named = car();
    named["model"] = "flowers".into();
    let answer = gateway.predict(named.to_string()).await;
    assert!(answer.json()["prediction"].is_number(), "{}", answer.text);
    // Of two turns at a share of one half, the first is the canary's.
    assert_eq!(flower().await.header("x-modelgate-version"), "2");
    assert_eq!(flower().await.header("x-modelgate-version"), "1");
}

/// Two sources with other content under the same name and version: the second's is an error, told wherever one would look.
#[tokio::test(flavor = "multi_thread")]
async fn the_clash_of_two_sources_is_an_error_of_the_second() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let other = flowers("flowers", "1");
    crate::flowers::other_model(&other, "other");
    crate::flowers::place(&flowers("flowers", "1"), &folders[0].path().join("flowers"));
    crate::flowers::place(&other, &folders[1].path().join("flowers"));
    let cache = tempfile::tempdir().expect("a folder");
    let sources: Vec<_> = ["first", "second"]
        .iter()
        .zip(&folders)
        .map(|(name, folder)| format!("{name}={}", folder.path().display()))
        .collect();
    let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
    gateway.becomes("flowers", "1", "READY", "source 'second' has other content").await;
    let sources = gateway.get("/v2/repository/sources").await.json();
    let problems = |place: usize| sources["sources"][place]["problems"].to_string();
    assert!(problems(1).contains("flowers version 1: 'first' has other content"), "{sources}");
    assert_eq!(problems(0), "null", "{sources}");
    // Gone where the second has it no more.
    fs::remove_dir_all(folders[1].path().join("flowers")).expect("removed");
    crate::support::eventually("the clash is over", || async {
        gateway.state("flowers", "1").await.is_some_and(|(_, reason)| reason.is_empty())
    })
    .await;
}
