//! OpenAI's embeddings over any model that takes texts and gives a row of floats for each.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::Response,
    routing::post,
};

use crate::{
    app::App,
    embeddings::{self, Problem, Shape},
    error::Error,
    generation::Generation,
    http::{answer, body, held, named, work},
    json::decode::{ModelKey, model_key},
    memory::Permit,
    workers::NO_MODEL,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/embeddings", post(embeddings))
}

/// For the model that the body names; for the default one where nothing names any.
async fn embeddings(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let named = named::model(None, &head)?;
    let queue = named.as_deref().unwrap_or(NO_MODEL);
    let (body, mut permit) = body::receive(&app, queue, &head.headers, body).await?.joined(&app, queue).await?;

    let started = Instant::now();
    let name = match named {
        Some(name) => Some(name.into_owned()),
        None => asked(&app, &body).await?,
    };
    let generation = app.resolve(name.as_deref(), None).await?;
    let refused = |error| generation.refused(error);
    let shape = shape(&generation).map_err(refused)?;
    let asked = read(&app, &generation, body, &mut permit).await.map_err(refused)?;
    if let Some(dimensions) = asked.dimensions.filter(|asked| *asked != shape.width as u64) {
        return Err(refused(Error::Parameter {
            parameter: "dimensions",
            message: format!("model '{}' gives {} dimensions, {dimensions} were asked", generation.name, shape.width),
        }));
    }
    permit.settle(asked.batch.size())?;
    generation.metrics.decode_us.inc_by(answer::micros(started));
    let answer = app.workers.execute(&generation, asked.batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let encoding = asked.encoding;
    let encoded = work::encoded(&app, &generation, answer, &mut permit, move |generation, answer| {
        embeddings::write(answer, &generation.signature.outputs, shape, &generation.name, encoding)
    })
    .await?;
    generation.metrics.encode_us.inc_by(answer::micros(started));
    let mut response = answer::held(held::JSON, encoded, permit)?;
    answer::name_generation(response.headers_mut(), &generation);
    Ok(response)
}

/// The model that the body names.
async fn asked(app: &App, body: &Bytes) -> Result<Option<String>, Error> {
    let key = if body.len() <= body::SMALL {
        model_key(body).into_owned()
    } else {
        let body = body.clone();
        let deadline = Instant::now() + app.http.body_timeout;
        app.workers.call(NO_MODEL, body.len(), deadline, move || model_key(&body).into_owned()).await?
    };
    match key {
        ModelKey::Name(name) => Ok(Some(name.into_owned())),
        ModelKey::Absent => Ok(None),
        ModelKey::Value => Err(Error::Parameter { parameter: "model", message: "expected a model's name".into() }),
    }
}

fn shape(generation: &Generation) -> Result<Shape, Error> {
    let signature = &generation.signature;
    let shape = Shape::find(&signature.inputs, &signature.outputs).filter(|_| !generation.tensors);
    shape.ok_or_else(|| Error::Parameter {
        parameter: "model",
        message: format!(
            "model '{}' gives no embeddings: it would have to take one column of texts and give a row of floats",
            generation.name
        ),
    })
}

async fn read(
    app: &App,
    generation: &Arc<Generation>,
    body: Bytes,
    permit: &mut Permit,
) -> Result<embeddings::Request, Error> {
    let read = work::decoded(app, generation, body.len(), permit, move |_, bounds| embeddings::read(&body, bounds));
    read.await?.map_err(|problem| match problem {
        Problem::Malformed { line, column, message } => Error::MalformedJson { line, column, message },
        Problem::Field(parameter, message) => Error::Parameter { parameter, message },
        Problem::TooMany(limit) => Error::TooManyRows(limit),
        Problem::Excess(excess) => excess.into(),
    })
}
