//! A wire between a gateway and a server that can be made to fail in the ways that networks and servers do.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to a connection.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It reaches the server.
    None,
    /// It is closed at once.
    Closed,
    /// It gets this answer, whatever it asks.
    Answer(String),
    /// It reaches the server, but only so many bytes come back.
    CutAfter(usize),
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
    match now {
        Fault::Closed => {}
        Fault::None => {
            if let Ok(mut server) = TcpStream::connect(server).await {
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = fault.changed() => {}
                }
            }
        }
        Fault::Answer(text) => {
            let mut request = [0; 8192];
            _ = client.read(&mut request).await;
            _ = client.write_all(text.as_bytes()).await;
            _ = client.shutdown().await;
        }
        Fault::CutAfter(most) => {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            let mut request = [0; 8192];
            let Ok(count) = client.read(&mut request).await else { return };
            _ = server.write_all(&request[..count]).await;
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
    }
}
