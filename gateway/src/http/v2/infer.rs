//! `POST …/infer`: tensors in, tensors out, each as JSON or in binary.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

use crate::{
    app::App,
    bounds::Bounds,
    chunked_bytes::ChunkedBytes,
    error::Error,
    generation::Generation,
    http::{
        answer,
        body::{self, Received},
        held, named,
        v2::target::Target,
        work::{self, Size},
    },
    json::decode::tokens,
    memory::Permit,
    oip::{
        self, input,
        output::{self, Chosen},
        request::{self, InferRequest},
    },
    tensor::Batch,
    workers::{Priority, RequestOptions},
};

/// Tells how much of a body is JSON, where binary tensors follow.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Bytes of binary tensors that cost as much time as one byte of JSON, roughly.
const BINARY_DISCOUNT: usize = 32;

/// Answers a request.
pub(in crate::http) async fn infer(
    State(app): State<App>,
    target: Target,
    request: Request,
) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    named::model(Some(&target.model), &head)?;
    let generation = app.resolve(Some(&target.model), target.version.as_deref()).await?;
    let received =
        body::receive(&app, &generation.name, &head.headers, body).await.map_err(|error| generation.refused(error))?;
    let Received { body, mut permit } = received;
    let started = Instant::now();
    let json = json_length(&head.headers, body.len()).map_err(|error| generation.refused(error))?;
    let Decoded { batch, chosen, id, timeout, priority } = decode(&app, &generation, body, json, &mut permit).await?;
    permit.settle(batch.size())?;
    generation.metrics.decode_us.inc_by(answer::micros(started));

    let limit = timeout.map_or(generation.limits.deadline, |timeout| timeout.min(generation.limits.deadline));
    let options = RequestOptions { deadline: started + limit, priority };
    let answer = app.workers.execute(&generation, batch, options).await;
    let answer = answer.map_err(|error| match error {
        Error::Deadline(_) => Error::Deadline(limit.as_millis()),
        other => other,
    })?;

    let started = Instant::now();
    let body = work::encoded(&app, &generation, answer, &mut permit, move |generation, answer| {
        output::write(&generation.interface(), answer, &chosen, id.as_deref())
    })
    .await?;
    generation.metrics.encode_us.inc_by(answer::micros(started));
    let kind = if body.json.is_some() { BINARY } else { held::JSON };
    let mut response = answer::held(kind, body.bytes, permit)?;
    if let Some(length) = body.json {
        response.headers_mut().insert(JSON_LENGTH, length.into());
    }
    answer::name_generation(response.headers_mut(), &generation);
    Ok(response)
}

/// The length of the body's JSON part: all of it where nothing is said.
fn json_length(headers: &HeaderMap, body: usize) -> Result<usize, Error> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(body) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| Error::BadRequest(format!("expected a number of bytes in {JSON_LENGTH}")))?;
    if length > body {
        return Err(Error::BadRequest(format!("{JSON_LENGTH} says {length} bytes, but the body has {body}")));
    }
    Ok(length)
}

/// A request that can be run.
struct Decoded {
    batch: Batch,
    chosen: Vec<Chosen>,
    id: Option<String>,
    timeout: Option<Duration>,
    priority: Priority,
}

async fn decode(
    app: &App,
    generation: &Arc<Generation>,
    body: ChunkedBytes,
    json: usize,
    permit: &mut Permit,
) -> Result<Decoded, Error> {
    let bytes = body.len();
    let size = Size { bytes, work: json + (bytes - json) / BINARY_DISCOUNT };
    let state = app.clone();
    let decode = move |generation: &Generation, bounds: Bounds<'_>| decode_now(&state, generation, body, json, bounds);
    work::decoded(app, generation, size, permit, decode).await?.map_err(|error| generation.refused(error))
}

fn decode_now(
    app: &App,
    generation: &Generation,
    body: ChunkedBytes,
    json: usize,
    bounds: Bounds<'_>,
) -> Result<Decoded, Error> {
    // JSON alone is put together first, so that its pieces are not kept beside it.
    let body = if json == body.len() { ChunkedBytes::whole(body.into_bytes()) } else { body };
    let head = body.slice(0..json);
    let text = head.joined();
    let binary = body.slice(json..body.len());
    let rewritten;
    let InferRequest { id, parameters, inputs, outputs } = match request::read(&text, &binary, false) {
        // In the data of a tensor, the parser's error is told as one of that tensor.
        Err(error @ (oip::Error::Malformed { .. } | oip::Error::Invalid(_))) => {
            rewritten = tokens::rewritten(&text).ok_or(error)?;
            request::read(&rewritten, &binary, true)?
        }
        read => read?,
    };
    let chosen = output::choose(&outputs, &parameters, &generation.interface())?;
    let packed = input::pack(&inputs, &generation.interface(), bounds)?;
    app.metrics.copied_to_columns.inc_by((body.copied() + packed.copied) as u64);
    Ok(Decoded {
        batch: packed.batch,
        chosen,
        id: id.map(std::borrow::Cow::into_owned),
        // Triton takes 0 for none.
        timeout: parameters.timeout.filter(|&micros| micros > 0).map(Duration::from_micros),
        priority: Priority::from_number(parameters.priority.unwrap_or(0)),
    })
}
