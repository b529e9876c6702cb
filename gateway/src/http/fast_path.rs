//! The fast path: requests for predictions are answered before the router, whose search for a route costs as much as a
//! small model.

use axum::{
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    http::{
        predict, telemetry,
        v2::{infer, target::Target},
    },
};

/// A request that needs no router. Everything about it is as if it had gone through.
#[derive(Debug)]
pub(super) enum FastPath {
    /// `POST /predict` and `POST /predict/{model}`
    Predict(Option<String>),
    /// `POST /v2/models/{model}/infer`
    Infer(Target),
}

impl FastPath {
    /// The fast path of a request, if it has one.
    pub(super) fn find<B>(request: &Request<B>) -> Option<Self> {
        if request.method() != Method::POST {
            return None;
        }
        let path = request.uri().path();
        if path == "/predict" {
            return Some(Self::Predict(None));
        }
        // The router reads paths with escaped characters or a version.
        let plain = |model: &str| !model.is_empty() && !model.bytes().any(|byte| matches!(byte, b'/' | b'%'));
        if let Some(model) = path.strip_prefix("/predict/") {
            return plain(model).then(|| Self::Predict(Some(model.to_owned())));
        }
        let model = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        plain(model).then(|| Self::Infer(Target { model: model.to_owned(), version: None }))
    }

    /// Answers the request.
    pub(super) async fn answer(self, app: App, request: Request) -> Response {
        match self {
            Self::Predict(model) => {
                let (label, ok) = match &model {
                    None => ("/predict", Some(&app.metrics.predicted)),
                    Some(_) => ("/predict/{model}", None),
                };
                let answer =
                    |request| async { predict::answer(app.clone(), model.as_deref(), request).await.into_response() };
                telemetry::around(&app, label, ok, request, answer).await
            }
            Self::Infer(target) => {
                let answer =
                    |request| async { infer::infer(State(app.clone()), target, request).await.into_response() };
                telemetry::around(&app, "/v2/models/{model}/infer", Some(&app.metrics.inferred), request, answer).await
            }
        }
    }
}
