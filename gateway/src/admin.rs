//! The callers that may change what is served, and the door of each.
//!
//! A caller's address says nothing on a public port: proxies make remote callers look local. So calls that change what is
//! served are answered there to bearers of the token alone. Without a token they have two doors of their own: a Unix
//! socket, which the file system guards, and a listener on the loopback interface, which browsers are kept away from.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use sha2::{Digest, Sha256};

/// The longest token looked at.
const MAX_TOKEN: usize = 4096;

/// Where a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The port that answers everything.
    Public,
    /// The listener for these calls alone (`--admin-listen`).
    Listener,
    /// The Unix socket (`--admin-socket`): only this user and root can connect to it.
    Socket,
}

/// The rule for calls that change what is served.
#[derive(Clone, Default)]
pub struct Admin {
    /// Its digest: comparing digests tells nothing about the token by the time it takes.
    token: Option<[u8; 32]>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("has_token", &self.token.is_some()).finish()
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Of a TCP connection.
    Address(SocketAddr),
    /// A process on this machine, as the kernel names it.
    Process {
        /// Its user.
        user: u32,
        /// Its number, where the kernel tells it.
        process: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process { user, process: Some(process) } => write!(f, "uid {user} pid {process}"),
            Self::Process { user, process: None } => write!(f, "uid {user}"),
        }
    }
}

/// The facts about a caller.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Where it came in.
    pub door: Door,
    /// The other end of its connection.
    pub peer: Option<Peer>,
    /// Its `Authorization` header.
    pub authorization: Option<&'a str>,
    /// Whether the call came through a proxy or from a web page: then the peer's address says nothing.
    pub is_forwarded: bool,
}

/// By what right a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The caller brought the admin token.
    Token,
    /// The caller came through the Unix socket.
    Socket,
    /// The caller came from this machine, through the listener for such calls.
    Loopback,
}

impl Who {
    /// Its name in audit lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "admin-token",
            Self::Socket => "socket",
            Self::Loopback => "loopback",
        }
    }
}

impl Admin {
    /// The rule with this token, or without one.
    pub fn new(token: Option<&str>) -> Self {
        Self { token: token.map(|token| Sha256::digest(token).into()) }
    }

    /// Whether there is a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// By what right this caller may make such a call.
    ///
    /// # Errors
    /// Why it may not.
    pub fn allow(&self, caller: &Caller<'_>) -> Result<Who, &'static str> {
        if caller.door == Door::Socket {
            return Ok(Who::Socket);
        }
        let Some(token) = &self.token else { return Self::allow_without_token(caller) };
        let presented = caller.authorization.and_then(|value| value.split_once(' '));
        let presented = presented
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .map(|(_, presented)| presented.trim());
        let presented = presented.filter(|presented| presented.len() <= MAX_TOKEN).map(Sha256::digest);
        let is_same = presented.is_some_and(|presented| {
            // All bytes are looked at, whatever the first ones are.
            presented.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        });
        if is_same { Ok(Who::Token) } else { Err("expected the admin token: `Authorization: Bearer TOKEN`") }
    }

    fn allow_without_token(caller: &Caller<'_>) -> Result<Who, &'static str> {
        if caller.door != Door::Listener {
            return Err("this call needs an admin token (--admin-token-file); without one it is answered only on the \
                        gateway's Unix socket (--admin-socket) and at --admin-listen on the loopback interface");
        }
        let is_local = matches!(caller.peer, Some(Peer::Address(peer)) if is_loopback(peer.ip()));
        if is_local && !caller.is_forwarded {
            Ok(Who::Loopback)
        } else {
            Err("without an admin token this call is answered only on the loopback interface, to callers that come \
                 through no proxy and no web page")
        }
    }
}

/// Whether this is the machine itself.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller<'a>(door: Door, peer: &str, authorization: Option<&'a str>, is_forwarded: bool) -> Caller<'a> {
        let peer = Some(Peer::Address(SocketAddr::new(peer.parse().expect("an address"), 1)));
        Caller { door, peer, authorization, is_forwarded }
    }

    #[test]
    fn without_a_token_only_doors_of_their_own_are_open() {
        let open = Admin::new(None);
        for (door, peer, is_forwarded, who) in [
            (Door::Public, "127.0.0.1", false, None),
            (Door::Public, "::1", false, None),
            (Door::Listener, "127.0.0.1", false, Some(Who::Loopback)),
            (Door::Listener, "::1", false, Some(Who::Loopback)),
            (Door::Listener, "::ffff:127.0.0.1", false, Some(Who::Loopback)),
            (Door::Listener, "127.0.0.1", true, None),
            (Door::Listener, "10.0.0.1", false, None),
            (Door::Socket, "10.0.0.1", true, Some(Who::Socket)),
        ] {
            assert_eq!(open.allow(&caller(door, peer, None, is_forwarded)).ok(), who, "{door:?} {peer}");
        }
    }

    #[test]
    fn a_token_is_asked_for_at_every_door_but_the_socket() {
        let guarded = Admin::new(Some("secret"));
        for (authorization, good) in [
            (Some("Bearer secret"), true),
            (Some("bearer secret"), true),
            (Some("Bearer secres"), false),
            (Some("Basic secret"), false),
            (Some("secret"), false),
            (None, false),
        ] {
            for door in [Door::Public, Door::Listener] {
                let allowed = guarded.allow(&caller(door, "127.0.0.1", authorization, false));
                assert_eq!(allowed.ok(), good.then_some(Who::Token), "{authorization:?}");
            }
        }
        assert_eq!(guarded.allow(&caller(Door::Socket, "::1", None, false)), Ok(Who::Socket));
        assert!(!format!("{guarded:?}").contains("secret"));
    }
}
