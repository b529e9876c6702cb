//! Commands that talk to something elsewhere: a bucket, or a running gateway.

use std::{path::Path, time::Duration};

use anyhow::Context;
use reqwest::Url;
use serde_json::Value;

use crate::{config::environment, source};

/// A gateway answers such a call within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Uploads a bundle; `tell` gets a line for each step.
pub(super) fn push(folder: &Path, to: &str, tell: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    run(source::push(folder, to, &environment()?, tell))
}

/// Asks a gateway to go back to the release that answered before. Gives what answers now.
pub(super) fn rollback(model: &str, address: &str, token: Option<&str>) -> anyhow::Result<String> {
    let mut url =
        Url::parse(&format!("http://{address}")).with_context(|| format!("expected HOST:PORT, got {address:?}"))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(["v2", "repository", "models", model, "rollback"]);
    }
    run(async {
        let client = source::http_client().timeout(PATIENCE).no_proxy().build()?;
        let mut request = client.post(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("no answer at {address}"))?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        anyhow::ensure!(
            status.is_success(),
            "{address} answered {status}: {}",
            body["error"].as_str().unwrap_or("nothing that is understood")
        );
        let version = body["version"].as_str().unwrap_or("?");
        Ok(format!("{model} version {version} (generation {}) answers now", body["generation"]))
    })
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
