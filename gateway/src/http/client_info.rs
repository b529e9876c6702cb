//! The client of a call that changes what is served.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap, Request, Uri, Version, header, uri::Authority},
};

use crate::{
    admin::{Caller, Door, Peer, is_loopback},
    http::socket::Process,
};

/// The TCP connection that a request came on, and whether it is the caller's; set where [`is_needed_for`] says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientInfo {
    peer: SocketAddr,
    is_forwarded: bool,
}

/// Whether calls of this path are allowed by who makes them.
pub(super) fn is_needed_for(path: &str) -> bool {
    path.starts_with("/v2/repository/") || path.starts_with("/inference.GRPCInferenceService/Repository")
}

impl ClientInfo {
    pub(super) fn new<B>(peer: SocketAddr, request: &Request<B>) -> Self {
        // Some proxies speak HTTP/1.0 to the server behind them, and add no header.
        let is_old = request.version() < Version::HTTP_11;
        Self { peer, is_forwarded: is_old || is_forwarded(request.uri(), request.headers()) }
    }

    /// The facts about a caller at this door, by a request's extensions and its `Authorization` header.
    pub(crate) fn caller<'a>(door: Door, extensions: &Extensions, authorization: Option<&'a str>) -> Caller<'a> {
        let info = extensions.get::<Self>();
        let process = extensions
            .get::<ConnectInfo<Process>>()
            .map(|info| Peer::Process { user: info.0.user, process: info.0.process });
        Caller {
            door,
            peer: process.or(info.map(|info| Peer::Address(info.peer))),
            authorization,
            is_forwarded: info.is_none_or(|info| info.is_forwarded),
        }
    }
}

/// Headers that proxies and browsers add, and a host that is not this machine: a page that a browser on this machine
/// shows must not be able to unload models.
fn is_forwarded(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts =
        headers.get_all(header::HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok()).peekable();
    // An absolute target and HTTP/2 name the host there, and may name another one in the header.
    let authority = uri.authority();
    let is_named = authority.is_some() || hosts.peek().is_some();
    !is_named
        || authority.is_some_and(|host| !is_local(host))
        || hosts.any(|host| !host.is_some_and(|host| is_local(&host)))
        || headers.keys().any(|name| is_added(name.as_str()))
}

/// Whether a proxy or a browser adds this header.
fn is_added(name: &str) -> bool {
    const ADDED: [&str; 15] = [
        "forwarded",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "fastly-client-ip",
        "x-original-for",
        "x-proxyuser-ip",
        "l5d-client-id",
        "origin",
        "referer",
        "sec-fetch-site",
    ];
    name.starts_with("x-forwarded") || name.starts_with("x_forwarded") || ADDED.contains(&name)
}

fn is_local(host: &Authority) -> bool {
    let name = host.host();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn forwarded(uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        is_forwarded(&uri.parse().expect("a target"), &headers.iter().map(pair).collect())
    }

    #[test]
    fn hosts_on_this_machine_are_known() {
        for (host, local) in [
            ("localhost:8080", true),
            ("localhost.:8080", true),
            ("127.0.0.1", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("127.0.0.1.nip.io:8080", false),
            ("localhost:8080@example.org", false),
            ("[::ffff:10.0.0.1]:8080", false),
            ("example.org", false),
            ("", false),
        ] {
            assert_eq!(forwarded("/", &[("host", host)]), !local, "{host}");
        }
    }

    #[test]
    fn every_place_that_names_a_host_counts() {
        assert!(forwarded("http://example.org/", &[("host", "localhost")]));
        assert!(forwarded("http://localhost/", &[("host", "example.org")]));
        assert!(!forwarded("http://localhost/", &[("host", "localhost")]));
        assert!(!forwarded("http://localhost/", &[]));
        assert!(forwarded("/", &[]), "HTTP/1.0 may name none");
    }

    #[test]
    fn what_proxies_and_browsers_add_is_known() {
        for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "cf-connecting-ip", "via", "origin"] {
            assert!(forwarded("/", &[("host", "localhost"), (name, "1")]), "{name}");
        }
        assert!(!forwarded("/", &[("host", "localhost"), ("x-request-id", "1")]));
    }
}
