//! A client for pages: one request a connection, bytes as they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of one line of numbers: name and labels as they stand there.
    #[track_caller]
    pub fn number(&self, series: &str) -> f64 {
        let found = self.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {series} in\n{}", self.body)).parse().unwrap()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads one answer to its end.
pub fn read(mut stream: &TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}

/// One request, as it stands.
pub fn ask(address: SocketAddr, request: &str) -> Answer {
    ask_bytes(address, request.as_bytes())
}

/// As [`ask`], of any octets.
pub fn ask_bytes(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // Who is turned away early may not take all of it.
    let _ = stream.write_all(request);
    read(&stream)
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    let mut stream = connect(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: pages.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    read(&stream)
}
