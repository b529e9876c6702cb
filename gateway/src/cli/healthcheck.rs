//! `modelgate healthcheck`.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::Context;

/// A request by hand: an HTTP client would be larger than the rest of this command.
pub(super) fn healthcheck(address: &str, live: bool) -> anyhow::Result<()> {
    let patience = Duration::from_secs(3);
    let mut target = address
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("expected HOST:PORT, got {address:?}"))?;
    if target.ip().is_unspecified() {
        target.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let path = if live { "/v2/health/live" } else { "/v2/health/ready" };
    let mut stream = TcpStream::connect_timeout(&target, patience).with_context(|| format!("no answer at {target}"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).with_context(|| format!("no answer from {target}"))?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(status.split(' ').nth(1) == Some("200"), "{target}{path} answered {status:?}");
    Ok(())
}
