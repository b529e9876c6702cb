//! The routes of one listener, and the fast path beside them.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::Body, http::Request, response::Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{
    client_info::{self, ClientInfo},
    fast_path::FastPath,
};
use crate::app::App;

/// The routes that are served.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Everything.
    pub router: Router,
    /// Where predictions are served too: see [`FastPath`].
    pub predict: Option<App>,
}

impl Routes {
    pub(super) async fn answer(
        self,
        mut request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Infallible> {
        if let Some(app) = self.predict
            && let Some(fast_path) = FastPath::find(&request)
        {
            return Ok(fast_path.answer(app, request.map(Body::new)).await);
        }
        if let Some(peer) = peer
            && client_info::is_needed_for(request.uri().path())
        {
            let info = ClientInfo::new(peer, &request);
            request.extensions_mut().insert(info);
        }
        self.router.oneshot(request.map(Body::new)).await
    }
}
