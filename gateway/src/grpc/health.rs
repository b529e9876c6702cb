//! gRPC's own health service.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use crate::{
    app::App,
    http::lasting::{Kind, Pool},
};

/// Watches at once, over all connections.
const MAX_WATCHES: usize = 1_000;

/// The interval at which a watch looks.
const PERIOD: Duration = Duration::from_secs(1);

/// The services that have a health: all of them the gateway's.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

#[derive(Debug)]
pub(super) struct Health {
    app: App,
    watches: Arc<Pool>,
}

impl Health {
    pub(super) fn new(app: App) -> Self {
        Self { app, watches: Pool::new(Kind::Watch, MAX_WATCHES) }
    }
}

fn serving(app: &App, service: &str) -> ServingStatus {
    match (SERVICES.contains(&service), app.is_ready()) {
        (false, _) => ServingStatus::ServiceUnknown,
        (true, true) => ServingStatus::Serving,
        (true, false) => ServingStatus::NotServing,
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match serving(&self.app, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service")),
            serving => Ok(Response::new(HealthCheckResponse { status: serving.into() })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The status now, and each time it changes.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let slot = self.watches.take(request.extensions());
        let slot = slot.ok_or_else(|| Status::resource_exhausted("too many watches are open"))?;
        let start = (self.app.clone(), request.into_inner().service, None, slot);
        let changes = stream::unfold(start, |(app, service, last, slot)| async move {
            loop {
                let now = serving(&app, &service);
                if last != Some(now) {
                    let answer = HealthCheckResponse { status: now.into() };
                    return Some((Ok(answer), (app, service, Some(now), slot)));
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
