//! Commands that talk to something elsewhere: a bucket, or a running gateway.

use std::{
    net::IpAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::{
    config::{Secret, environment, socket_name},
    source,
};

/// A gateway answers such a call within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Uploads a bundle; `report` gets a line for each step.
pub(super) fn push(folder: &Path, to: &str, report: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    run(source::push(folder, to, &environment()?, report))
}

/// The way to a gateway for calls that change what is served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its Unix socket, where no token is needed.
    Socket(PathBuf),
    /// An address.
    Address(String),
}

impl Way {
    /// The address for such calls if one is given; the socket if one is named, or if one answers at its default place in
    /// `cache`; else where the gateway listens, if there is a token for it.
    pub(super) fn find(
        address: Option<&str>,
        socket: Option<&str>,
        cache: Option<&Path>,
        listen: &str,
        has_token: bool,
    ) -> anyhow::Result<Self> {
        if let Some(address) = address {
            return Ok(Self::Address(address.to_owned()));
        }
        if let Some(socket) = socket.filter(|socket| *socket != "off") {
            return Ok(Self::Socket(socket.into()));
        }
        let port = base(listen)?.port_or_known_default();
        let default = cache.zip(port).map(|(cache, port)| cache.join(socket_name(port)));
        if let Some(path) = default.as_ref().filter(|path| UnixStream::connect(path).is_ok()) {
            return Ok(Self::Socket(path.clone()));
        }
        anyhow::ensure!(
            has_token,
            "no gateway answers on its admin socket{}: name the socket (--socket), or set its admin token (--token-file)",
            default.map_or_else(String::new, |path| format!(" {}", path.display()))
        );
        Ok(Self::Address(listen.to_owned()))
    }
}

/// A running gateway, for an operator.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) way: Way,
    pub(super) token: Option<Secret>,
}

/// Makes a call that changes what a gateway serves of a model. Gives what answers now.
pub(super) fn call(model: &str, call: &str, gateway: &Gateway) -> anyhow::Result<String> {
    let body = gateway.ask(Method::POST, &["models", model, call])?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok(match body["version"].as_str() {
        Some(version) => format!("{model} version {version} (generation {}) answers now", body["generation"]),
        None => format!("no version of {model} answers now"),
    })
}

/// The state of a gateway, as JSON in lines.
pub(super) fn state(gateway: &Gateway) -> anyhow::Result<String> {
    let state: Value =
        serde_json::from_slice(&gateway.ask(Method::GET, &["state"])?).context("the answer is not JSON")?;
    Ok(serde_json::to_string_pretty(&state)?)
}

impl Gateway {
    /// The answer to a call of the repository's.
    fn ask(&self, method: Method, path: &[&str]) -> anyhow::Result<Vec<u8>> {
        let (mut url, shown) = match &self.way {
            // The host says nothing on a socket.
            Way::Socket(path) => (base("localhost")?, path.display().to_string()),
            Way::Address(address) => (base(address)?, address.clone()),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v2", "repository"]).extend(path);
        }
        run(async {
            let mut client = source::http_client().timeout(PATIENCE).no_proxy();
            if let Way::Socket(path) = &self.way {
                client = client.unix_socket(path.clone());
            }
            let mut request = client.build()?.request(method, url);
            if let (Way::Address(_), Some(token)) = (&self.way, &self.token) {
                request = request.bearer_auth(token.expose());
            }
            let answer = request.send().await.with_context(|| format!("no answer at {shown}"))?;
            let (status, body) = (answer.status(), answer.bytes().await?);
            let message = || {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                body["error"].as_str().unwrap_or("nothing that is understood").to_owned()
            };
            anyhow::ensure!(status.is_success(), "{shown} answered {status}: {}", message());
            Ok(body.into())
        })
    }
}

/// `HOST:PORT`, with or without `http://` before it. A gateway that listens on every address is reached at this machine's
/// own.
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

    #[test]
    fn the_socket_is_found_by_itself_and_an_address_wins() {
        let cache = tempfile::tempdir().expect("a folder");
        let find =
            |address, socket, has_token| Way::find(address, socket, Some(cache.path()), "0.0.0.0:8081", has_token);
        assert_eq!(find(Some("a:1"), Some("/s"), true).expect("a way"), Way::Address("a:1".into()));
        assert_eq!(find(None, Some("/s"), true).expect("a way"), Way::Socket("/s".into()));
        assert_eq!(find(None, Some("off"), true).expect("a way"), Way::Address("0.0.0.0:8081".into()));
        assert!(find(None, None, false).expect_err("no way").to_string().contains("--socket"));
        let path = cache.path().join(socket_name(8081));
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        assert_eq!(find(None, None, true).expect("a way"), Way::Socket(path));
        drop(listener);
        assert!(find(None, None, false).is_err(), "nobody answers on it any more");
    }
}
