//! A wire between a gateway and a server that can be made to fail in the ways that networks and servers do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The fate of a connection.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection reaches the server.
    None,
    /// The connection is closed at once.
    Closed,
    /// A request gets this answer, whatever it asks.
    Answer(String),
    /// The connection reaches the server, but only so many bytes come back.
    CutAfter(usize),
    /// After so many bytes nothing comes any more, and nobody hangs up.
    StallAfter(usize),
    /// The answer to a request without a body comes back with one word in place of another of the same length.
    Reword(&'static str, &'static str),
    /// The connection reaches the server after so long.
    Late(Duration),
    /// The answer comes in pieces of so many bytes, with pauses.
    Slow(usize),
    /// This happens to requests whose head has this text (or, if it must, to those whose head has it not); others reach
    /// the server. Upper and lower case are the same.
    Selected { text: String, must: bool, fault: Box<Self> },
}

impl Fault {
    /// An S3 server's refusal.
    pub fn refusal(status: u16, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>");
        Self::Answer(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// For requests whose head has this text.
    pub fn on(self, text: &str) -> Self {
        Self::Selected { text: text.to_lowercase(), must: false, fault: Box::new(self) }
    }

    /// For requests whose head has it not.
    pub fn unless(self, text: &str) -> Self {
        Self::Selected { text: text.to_lowercase(), must: true, fault: Box::new(self) }
    }
}

/// Listens for the gateway.
pub struct Wire {
    pub address: String,
    fault: watch::Sender<Fault>,
}

impl Wire {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (fault, now) = watch::channel(Fault::None);
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server.clone(), now.clone()));
            }
        });
        Self { address, fault }
    }

    /// From now on; connections that are kept open end.
    pub fn fail(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn connection(mut client: TcpStream, server: String, mut fault: watch::Receiver<Fault>) {
    let now = fault.borrow_and_update().clone();
    if matches!(now, Fault::Closed) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let happens = async {
        if matches!(now, Fault::None) {
            _ = copy_bidirectional(&mut client, &mut server).await;
        } else if let Some(head) = head(&mut client).await {
            request(now, &head, &mut client, &mut server).await;
        }
    };
    tokio::select! {
        () = happens => {}
        _ = fault.changed() => {}
    }
}

/// One request with one fault; then the connection ends, so that the next one is looked at, too.
async fn request(fault: Fault, head: &[u8], client: &mut TcpStream, server: &mut TcpStream) {
    let fault = match fault {
        Fault::Selected { text, must, fault } => {
            let has = String::from_utf8_lossy(head).to_lowercase().contains(&text);
            if has == must { Fault::None } else { *fault }
        }
        fault => fault,
    };
    match fault {
        Fault::Answer(text) => {
            _ = client.write_all(text.as_bytes()).await;
            _ = client.shutdown().await;
            // What it still sends is read: else the connection is reset before the answer is.
            let mut rest = [0; 8192];
            while let Ok(1..) = client.read(&mut rest).await {}
        }
        Fault::None | Fault::Late(_) => {
            if let Fault::Late(by) = fault {
                tokio::time::sleep(by).await;
            }
            if server.write_all(&closing(head)).await.is_ok() {
                _ = copy_bidirectional(client, server).await;
            }
        }
        Fault::Reword(from, to) => {
            assert_eq!(from.len(), to.len());
            let mut answer = Vec::new();
            if server.write_all(&closing(head)).await.is_ok() && server.read_to_end(&mut answer).await.is_ok() {
                while let Some(at) = answer.windows(from.len()).position(|word| word == from.as_bytes()) {
                    answer[at..at + to.len()].copy_from_slice(to.as_bytes());
                }
                _ = client.write_all(&answer).await;
            }
        }
        Fault::CutAfter(most) => some(head, client, server, most).await,
        Fault::StallAfter(most) => {
            some(head, client, server, most).await;
            std::future::pending::<()>().await;
        }
        Fault::Slow(most) => {
            _ = server.write_all(head).await;
            let mut piece = vec![0; most];
            while let Ok(count @ 1..) = server.read(&mut piece).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if client.write_all(&piece[..count]).await.is_err() {
                    break;
                }
            }
        }
        Fault::Closed | Fault::Selected { .. } => {}
    }
}

/// The same head, for a server that is to hang up after its answer.
fn closing(head: &[u8]) -> Vec<u8> {
    let line = head.windows(2).position(|bytes| bytes == b"\r\n").unwrap_or(head.len());
    [&head[..line], b"\r\nConnection: close", &head[line..]].concat()
}

/// The answer, as far as this many bytes.
async fn some(head: &[u8], client: &mut TcpStream, server: &mut TcpStream, most: usize) {
    _ = server.write_all(head).await;
    let mut answer = vec![0; most];
    let mut have = 0;
    while have < most {
        match server.read(&mut answer[have..]).await {
            Ok(0) | Err(_) => break,
            Ok(count) => have += count,
        }
    }
    _ = client.write_all(&answer[..have]).await;
}

/// A request's head, and what came with it.
async fn head(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut piece = [0; 8192];
        match client.read(&mut piece).await {
            Ok(count @ 1..) if head.len() < 1 << 20 => head.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
    Some(head)
}
