//! The HTTP client with this program's one TLS provider.

use reqwest::{
    ClientBuilder, Url,
    redirect::{Attempt, Policy},
};

/// Redirects followed one after another.
const MAX_REDIRECTS: usize = 5;

/// To be configured and built. Redirects stay where they are: what a server may be asked for, another one may not.
pub fn http_client() -> ClientBuilder {
    // Once for the process; a second time changes nothing.
    _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new().redirect(Policy::custom(|attempt: Attempt<'_>| {
        let stays = attempt.previous().last().is_some_and(|from| is_same_place(from, attempt.url()));
        if !stays {
            attempt.error("it redirects to another host")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("it redirects without end")
        } else {
            attempt.follow()
        }
    }))
}

/// Whether both are the same server, or one is its plain port and the other its encrypted one.
fn is_same_place(from: &Url, to: &Url) -> bool {
    let is_upgrade = from.scheme() == "http"
        && to.scheme() == "https"
        && (from.port_or_known_default(), to.port_or_known_default()) == (Some(80), Some(443));
    let is_same = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    from.host_str().is_some() && from.host_str() == to.host_str() && (is_same || is_upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_their_host() {
        for (from, to, good) in [
            ("http://a:5000/x", "http://a:5000/y", true),
            ("http://a/x", "https://a/x", true),
            ("https://a/x", "http://a/x", false),
            ("http://a:5000/x", "http://a:5001/x", false),
            ("http://a:5000/x", "https://a/x", false),
            ("http://a/x", "http://169.254.169.254/latest", false),
            ("http://a/x", "http://a.evil.example/x", false),
            ("http://a/x", "file:///etc/passwd", false),
        ] {
            let [from, to] = [from, to].map(|url| Url::parse(url).expect("an address"));
            assert_eq!(is_same_place(&from, &to), good, "{from} {to}");
        }
    }
}
