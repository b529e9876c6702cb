//! Who may change what is served.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// The longest token looked at.
const MAX_TOKEN: usize = 4096;

/// The rule for calls that change what is served.
#[derive(Clone, Default)]
pub struct Admin {
    /// Its digest: comparing digests tells nothing about the token by the time it takes.
    token: Option<[u8; 32]>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("has_token", &self.token.is_some()).finish()
    }
}

/// What is known of a caller.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// From where it is connected.
    pub peer: Option<IpAddr>,
    /// Its `Authorization` header.
    pub authorization: Option<&'a str>,
    /// Whether the call came through a proxy or from a web page: then the peer's address says nothing.
    pub is_forwarded: bool,
}

impl Admin {
    /// With a token, whoever has it; without one, callers on the same machine.
    pub fn new(token: Option<&str>) -> Self {
        Self { token: token.map(|token| Sha256::digest(token).into()) }
    }

    /// Whether this caller may.
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, caller: &Caller<'_>) -> Result<(), &'static str> {
        let Some(token) = &self.token else {
            let is_local = caller.peer.is_some_and(|peer| peer.to_canonical().is_loopback());
            return if is_local && !caller.is_forwarded {
                Ok(())
            } else {
                Err("without an admin token this call is answered only on the loopback interface")
            };
        };
        let given = caller.authorization.and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).map(|(_, given)| given.trim());
        let given = given.filter(|given| given.len() <= MAX_TOKEN).map(Sha256::digest);
        let is_same = given.is_some_and(|given| {
            // All bytes are looked at, whatever the first ones are.
            given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        });
        if is_same { Ok(()) } else { Err("expected the admin token: `Authorization: Bearer TOKEN`") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_or_the_same_machine() {
        let caller = |peer: &str, authorization, is_forwarded| Caller {
            peer: Some(peer.parse().expect("an address")),
            authorization,
            is_forwarded,
        };
        let open = Admin::new(None);
        for (peer, is_forwarded, good) in [
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("127.0.0.1", true, false),
            ("10.0.0.1", false, false),
        ] {
            assert_eq!(open.allow(&caller(peer, None, is_forwarded)).is_ok(), good, "{peer} {is_forwarded}");
        }
        let guarded = Admin::new(Some("secret"));
        for (authorization, good) in [
            (Some("Bearer secret"), true),
            (Some("bearer secret"), true),
            (Some("Bearer secres"), false),
            (Some("Basic secret"), false),
            (Some("secret"), false),
            (None, false),
        ] {
            assert_eq!(guarded.allow(&caller("127.0.0.1", authorization, false)).is_ok(), good, "{authorization:?}");
        }
        assert!(!format!("{guarded:?}").contains("secret"));
    }
}
