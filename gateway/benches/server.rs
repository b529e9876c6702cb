//! The demo served in several ways, for a load generator from outside: `worker` and `request` (the gateway with the wasm
//! chain under either isolation), `native` (the same gateway and workers, the chain hard-coded), `native-alone` (that, and
//! no requests are run together, as they are not with isolation by request), `plain` (the plainest axum handler that does
//! the same work inline). `cargo bench --bench server -- MODE ADDRESS`; runs until it is killed.

#![expect(clippy::print_stdout, reason = "its output tells where it listens")]

mod support;

use std::{cell::RefCell, env, sync::Arc, thread};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use modelgate::{
    batching::Batching, catalog::Catalog, config::ServeArgs, generation::Generation, metrics::Metrics, server::Server,
    wasm::module::Isolation,
};
use modelgate_columns::{Reader, Values};
use modelgate_onnx::{Model, Session};
use serde::Deserialize;
use tokio::net::TcpListener;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [mode, address] = args.as_slice() else {
        println!("usage: cargo bench --bench server -- worker|request|native|native-alone|plain ADDRESS");
        return Ok(());
    };
    let metrics = Arc::new(Metrics::new()?);
    let mut generation = match mode.as_str() {
        "worker" => support::demo(Isolation::Worker, &metrics)?,
        "request" => support::demo(Isolation::Request, &metrics)?,
        "native" | "native-alone" | "plain" => support::native_demo(&metrics)?,
        other => bail!("expected worker, request, native, native-alone or plain, got {other}"),
    };
    if mode == "native-alone" {
        generation.batching = Batching::OFF;
    }
    let args = ServeArgs { listen: Some(address.parse()?), demo: Some(true), ..ServeArgs::default() };
    let config = args.resolve()?;
    let cores = thread::available_parallelism()?.get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(config.listen).await?;
        println!("{mode} listens on {}", listener.local_addr()?);
        if mode == "plain" {
            return plain(listener, generation).await;
        }
        let catalog = Catalog::default();
        catalog.publish(Arc::new(generation));
        Ok(Server::with_catalog(&config, listener, catalog, metrics)?.run(std::future::pending()).await?)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Features<'a> {
    elevation: f64,
    aspect: f64,
    slope: f64,
    #[serde(rename = "Horizontal_Distance_To_Hydrology")]
    hydrology: f64,
    #[serde(rename = "Vertical_Distance_To_Hydrology")]
    vertical: f64,
    #[serde(rename = "Horizontal_Distance_To_Roadways")]
    roadways: f64,
    #[serde(rename = "Hillshade_9am")]
    morning: f64,
    #[serde(rename = "Hillshade_Noon")]
    noon: f64,
    #[serde(rename = "Hillshade_3pm")]
    afternoon: f64,
    #[serde(rename = "Horizontal_Distance_To_Fire_Points")]
    fire: f64,
    #[serde(rename = "Wilderness_Area", borrow)]
    area: std::borrow::Cow<'a, str>,
    #[serde(rename = "Soil_Type", borrow)]
    soil: std::borrow::Cow<'a, str>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

async fn plain(listener: TcpListener, generation: Generation) -> Result<()> {
    let model = generation.model.clone().context("the demo has a model")?;
    let preprocess = Arc::new(support::Preprocess::read()?);
    let handler = move |body: Bytes| {
        let (model, preprocess) = (Arc::clone(&model), Arc::clone(&preprocess));
        async move {
            predict(&model, &preprocess, &body)
                .unwrap_or_else(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())
        }
    };
    axum::serve(listener, Router::new().route("/predict", post(handler))).await?;
    Ok(())
}

fn predict(model: &Arc<Model>, preprocess: &support::Preprocess, body: &[u8]) -> Result<Response> {
    let features: Features<'_> = serde_json::from_slice(body)?;
    let row = support::Row {
        numbers: [
            features.elevation,
            features.aspect,
            features.slope,
            features.hydrology,
            features.vertical,
            features.roadways,
            features.morning,
            features.noon,
            features.afternoon,
            features.fire,
        ],
        area: features.area.as_bytes(),
        soil: features.soil.as_bytes(),
    };
    let mut matrix = modelgate_columns::Writer::with_capacity(27);
    preprocess.fill(&row, matrix.fixed_with::<f32>(54));
    let matrix = matrix.finish();
    let outputs = SESSION.with_borrow_mut(|session| {
        let session = session.get_or_insert_with(|| model.session());
        session.compute(1, &matrix, None).map_err(|error| anyhow::anyhow!("{error:?}"))
    })?;
    let label = Reader::new(1, &outputs).next(&model.signature().outputs[0])?;
    let Values::I64([label]) = label.values else { bail!("the label is no integer") };
    let body = format!("{{\"prediction\":{label}}}");
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
