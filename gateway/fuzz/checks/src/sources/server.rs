//! An HTTP server on this machine that gives the answers of an input.

use std::{
    io::{BufRead, BufReader, Read, Result, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// Serves on a free port, as long as the process lives. Gives its address.
pub(super) fn start(answer: fn() -> (u16, Vec<u8>)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its connection, nothing else.
            thread::spawn(move || serve(stream, answer));
        }
    });
    format!("http://{address}")
}

/// Answers the requests of a connection, one after the other.
fn serve(mut stream: TcpStream, answer: fn() -> (u16, Vec<u8>)) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        let mut body = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                body = length.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; body])?;
        let (status, body) = answer();
        let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
