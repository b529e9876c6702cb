//! The Open Inference Protocol over gRPC, on the same port as everything else: its service, health and reflection.

mod check;
pub(crate) mod codec;
mod compression;
mod convert;
mod health;
mod held;
mod inference;
mod service;
mod status;
mod stream;
mod wire;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tonic::{Status, codec::CompressionEncoding};
use tonic_health::pb::health_server::HealthServer;

#[doc(hidden)]
pub use self::check::check;
use self::{
    compression::PREFIX, health::Health, held::InTime, inference::Inference,
    proto::grpc_inference_service_server::GrpcInferenceServiceServer, status::status, wire::SMALL_MESSAGE,
};
use crate::{
    admin::Door,
    app::App,
    http::{body, held::Held},
    memory::{Claim, Permit},
    workers::NO_MODEL,
};

/// Made from `proto/open_inference.proto`.
#[expect(
    clippy::allow_attributes_without_reason,
    clippy::enum_variant_names,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
pub(crate) mod proto;

/// The services under the paths that gRPC gives them; calls that change what is served where a door for them is named.
pub(crate) fn routes(app: &App, door: Option<Door>) -> Router<App> {
    let health = HealthServer::new(Health::new(app.clone())).max_decoding_message_size(SMALL_MESSAGE);
    let health = Router::new().route_service("/grpc.health.v1.Health/{method}", health);
    let router = inference(app, door, &["{method}"])
        .merge(streams(app))
        .merge(health.layer(middleware::from_fn_with_state(app.clone(), whole)));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            let (v1, v1alpha) =
                (v1.max_decoding_message_size(SMALL_MESSAGE), v1alpha.max_decoding_message_size(SMALL_MESSAGE));
            let reflection = Router::new()
                .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
                .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha);
            router.merge(reflection.layer(middleware::from_fn_with_state(app.clone(), in_time)))
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "gRPC reflection is not offered");
            router
        }
    }
}

/// The calls that change what is served, and what is known, alone.
pub(crate) fn admin_routes(app: &App, door: Door) -> Router<App> {
    inference(app, Some(door), &["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"])
}

/// The given methods of the inference service.
fn inference(app: &App, door: Option<Door>, methods: &[&str]) -> Router<App> {
    let service = GrpcInferenceServiceServer::new(Inference::new(app.clone(), door))
        .max_decoding_message_size(app.http.max_body)
        .max_encoding_message_size(usize::MAX);
    let route = |router: Router<App>, method: &&str| {
        router.route_service(&format!("/inference.GRPCInferenceService/{method}"), service.clone())
    };
    methods.iter().fold(Router::new(), route).layer(middleware::from_fn_with_state(app.clone(), whole))
}

/// Streams of requests, which are never read whole.
fn streams(app: &App) -> Router<App> {
    let service = GrpcInferenceServiceServer::new(Inference::new(app.clone(), None))
        .max_decoding_message_size(app.http.max_body)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    Router::new()
        .route_service("/inference.GRPCInferenceService/ModelStreamInfer", service)
        .layer(middleware::from_fn_with_state(app.clone(), stream::bounded))
}

/// Reads a request whole before it is handled, within the limits that HTTP's bodies have; its permit goes on with the
/// answer.
async fn whole(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let is_infer = head.uri.path() == "/inference.GRPCInferenceService/ModelInfer";
    let limit = if is_infer { app.http.max_body } else { SMALL_MESSAGE + PREFIX };
    let received = async {
        let received =
            body::receive_up_to(limit, &app, NO_MODEL, &head.headers, body).await.map_err(|error| status(&error))?;
        let (body, permit) = received.into_bytes();
        let (body, mut permit) = compression::inflated(&app, &mut head.headers, body, permit).await?;
        if is_infer {
            let decoded = wire::infer_request(body.get(PREFIX..).unwrap_or_default())?;
            // The message as it came and as the columns that it becomes, beside what is decoded of it.
            permit.cover(2 * body.len() + decoded, Claim::Whole).map_err(|error| status(&error))?;
        }
        Ok::<_, Status>((body, permit))
    };
    match received.await {
        Ok((body, permit)) => {
            next.run(Request::from_parts(head, body.into())).await.map(|body| Body::new(Held::new(body, permit)))
        }
        Err(status) => status.into_http::<Body>().into_response(),
    }
}

/// Lets a stream of requests go on for as long as some come.
async fn in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let permit = Permit::new(&app.memory);
    next.run(request.map(|body| Body::new(InTime::new(body, permit, app.http.body_timeout)))).await
}
