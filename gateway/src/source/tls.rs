//! The HTTP client with this program's one TLS provider.

use reqwest::ClientBuilder;

/// To be configured and built.
pub fn http_client() -> ClientBuilder {
    // Once for the process; a second time changes nothing.
    _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new()
}
