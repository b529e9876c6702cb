//! Commands that talk to something elsewhere: a bucket, or a running gateway.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::Context;
use reqwest::Url;
use serde_json::Value;

use crate::{
    config::{Secret, environment},
    source,
};

/// A gateway answers such a call within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Uploads a bundle; `tell` gets a line for each step.
pub(super) fn push(folder: &Path, to: &str, tell: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    run(source::push(folder, to, &environment()?, tell))
}

/// Asks a gateway to go back to the release that answered before. Gives what answers now.
pub(super) fn rollback(model: &str, address: &str, token: Option<&Secret>) -> anyhow::Result<String> {
    let mut url = base(address)?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["v2", "repository", "models", model, "rollback"]);
    }
    run(async {
        let client = source::http_client().timeout(PATIENCE).no_proxy().build()?;
        let mut request = client.post(url);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
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

/// `HOST:PORT`, with or without `http://` before it. Where a gateway listens on every address, it is reached at this
/// machine's own, which is the one that it answers such calls at.
fn base(address: &str) -> anyhow::Result<Url> {
    let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let expected = || format!("expected HOST:PORT or http://HOST:PORT, got {address:?}");
    let mut url = Url::parse(&text).with_context(expected)?;
    let host = url.host_str().with_context(expected)?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if address.is_ok_and(|ip| ip.is_unspecified()) {
        url.set_host(Some("127.0.0.1")).with_context(expected)?;
    }
    Ok(url)
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_a_scheme() {
        for (address, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://gateway:8080", "http://gateway:8080/"),
            ("https://gateway/", "https://gateway/"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
            ("[::]:8080", "http://127.0.0.1:8080/"),
        ] {
            assert_eq!(base(address).expect("an address").as_str(), expected, "{address}");
        }
        assert!(base("").is_err());
    }
}
