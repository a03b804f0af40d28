//! A name server on loopback that knows some TXT records, and of everything else that it does not exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    records: Arc<Mutex<BTreeMap<String, String>>>,
}

impl NameServer {
    pub async fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = NameServer { address: socket.local_addr().unwrap(), records: Arc::default() };
        let records = server.records.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let answer = answer(&buffer[..length], &records.lock().unwrap());
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        server
    }

    /// `name` without a dot at its end.
    pub fn publish(&self, name: &str, text: &str) {
        self.records.lock().unwrap().insert(name.to_lowercase(), text.to_owned());
    }
}

/// RFC 1035 section 4: one question, and one TXT record or NXDOMAIN.
fn answer(query: &[u8], records: &BTreeMap<String, String>) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += length + 1;
    }
    let question = &query[12..at + 5];
    let is_txt = question[question.len() - 4..][..2] == [0, 16];
    let found = records.get(&labels.join(".")).filter(|_| is_txt);
    let mut out = query[..2].to_vec();
    out.extend([
        0x81,
        if found.is_some() { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::from(found.is_some()),
        0,
        0,
        0,
        0,
    ]);
    out.extend(question);
    if let Some(text) = found {
        let mut strings = Vec::new();
        for part in text.as_bytes().chunks(255) {
            strings.push(part.len() as u8);
            strings.extend(part);
        }
        out.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        out.extend((strings.len() as u16).to_be_bytes());
        out.extend(strings);
    }
    out
}
