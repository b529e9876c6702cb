//! The Open Inference Protocol over gRPC, on the same port as everything else: its service, health and reflection.

mod compression;
mod convert;
mod health;
mod service;
mod status;
mod stream;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tonic::codec::CompressionEncoding;
use tonic_health::pb::health_server::HealthServer;

use self::{
    health::Health, proto::grpc_inference_service_server::GrpcInferenceServiceServer, service::Inference,
    status::status,
};
use crate::{app::App, http::body};

/// Made from `proto/open_inference.proto`.
#[expect(
    clippy::allow_attributes_without_reason,
    clippy::enum_variant_names,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
pub(crate) mod proto {
    tonic::include_proto!("inference");

    /// The description of the service, for reflection.
    pub(crate) const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/open_inference.bin"));
}

/// The services under the paths that gRPC gives them.
pub(crate) fn routes(app: &App, with_admin: bool) -> Router<App> {
    let mut router = inference(app, with_admin, &["{method}"])
        .merge(streams(app))
        .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(Health::new(app.clone())));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            router = router
                .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
                .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "gRPC reflection is not offered"),
    }
    router
}

/// The calls that change what is served, and what is known, alone.
pub(crate) fn admin_routes(app: &App) -> Router<App> {
    inference(app, true, &["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"])
}

/// These methods of the inference service.
fn inference(app: &App, with_admin: bool, methods: &[&str]) -> Router<App> {
    let service = GrpcInferenceServiceServer::new(Inference::new(app.clone(), with_admin))
        .max_decoding_message_size(app.http.max_body)
        .max_encoding_message_size(usize::MAX);
    let route = |router: Router<App>, method: &&str| {
        router.route_service(&format!("/inference.GRPCInferenceService/{method}"), service.clone())
    };
    methods.iter().fold(Router::new(), route).layer(middleware::from_fn_with_state(app.clone(), whole))
}

/// Streams of requests, which are never read whole.
fn streams(app: &App) -> Router<App> {
    let service = GrpcInferenceServiceServer::new(Inference::new(app.clone(), false))
        .max_decoding_message_size(app.http.max_body)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    Router::new()
        .route_service("/inference.GRPCInferenceService/ModelStreamInfer", service)
        .layer(middleware::from_fn_with_state(app.clone(), stream::bounded))
}

/// Reads a request whole before it is handled, within the limits that HTTP's bodies have.
async fn whole(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let body = match body::read_rope(&app, &head.headers, body).await {
        Ok(body) => compression::inflated(&app, &mut head.headers, body.into_bytes()).await,
        Err(error) => Err(status(&error)),
    };
    match body {
        Ok(body) => next.run(Request::from_parts(head, body.into())).await,
        Err(status) => status.into_http::<axum::body::Body>().into_response(),
    }
}
