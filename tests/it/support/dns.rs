//! A name server on loopback that knows some records, and of everything else that it does not exist; for names that are told to,
//! it fails or is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// RFC 1035 section 4.1.1.
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    /// By name and type, as in a zone file.
    records: BTreeMap<(String, &'static str), Vec<String>>,
    failing: BTreeSet<String>,
    silent: BTreeSet<String>,
}

impl NameServer {
    pub async fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = NameServer { address: socket.local_addr().unwrap(), zone: Arc::default() };
        let zone = server.zone.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let answer = answer(&buffer[..length], &zone.lock().unwrap());
                if let Some(answer) = answer {
                    socket.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        server
    }

    /// A TXT record. `name` without a dot at its end.
    pub fn publish(&self, name: &str, text: &str) {
        self.set(name, "TXT", &[text]);
    }

    /// All records of a name and type; none takes them away. TXT texts, addresses, `10 mx.example.org`, names without a dot.
    pub fn set(&self, name: &str, kind: &'static str, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut zone = self.zone.lock().unwrap();
        let key = (name.to_lowercase(), kind);
        if values.is_empty() {
            zone.records.remove(&key)
        } else {
            zone.records.insert(key, values)
        };
    }

    /// SERVFAIL for every question about this name.
    pub fn fails(&self, name: &str) {
        self.zone.lock().unwrap().failing.insert(name.to_lowercase());
    }

    /// No answer to any question about this name.
    pub fn is_silent(&self, name: &str) {
        self.zone.lock().unwrap().silent.insert(name.to_lowercase());
    }
}

/// RFC 1035 section 4: one question, its records, or that there are none.
fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += length + 1;
    }
    let (name, question) = (labels.join("."), &query[12..at + 5]);
    let code = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
    let kind = [(1, "A"), (6, "SOA"), (12, "PTR"), (15, "MX"), (16, "TXT"), (28, "AAAA")];
    let kind = kind.iter().find(|(number, _)| *number == code).map_or("", |(_, kind)| kind);
    if zone.silent.contains(&name) {
        return None;
    }
    let found = zone.records.get(&(name.clone(), kind)).cloned().unwrap_or_default();
    let exists = zone.records.keys().any(|(known, _)| *known == name || known.ends_with(&format!(".{name}")));
    let status = match (zone.failing.contains(&name), exists) {
        (true, _) => SERVER_FAILURE,
        (false, true) => 0,
        (false, false) => NAME_ERROR,
    };
    let found = if status == 0 { found } else { Vec::new() };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | status, 0, 1, 0, found.len() as u8, 0, 0, 0, 0]);
    out.extend(question);
    for value in found {
        let octets = octets(kind, &value);
        out.extend([0xc0, 12]);
        out.extend(code.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((octets.len() as u16).to_be_bytes());
        out.extend(octets);
    }
    Some(out)
}

/// What a record of this type holds.
fn octets(kind: &str, value: &str) -> Vec<u8> {
    match kind {
        "A" | "AAAA" => match value.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap();
            let mut octets = preference.parse::<u16>().unwrap().to_be_bytes().to_vec();
            octets.extend(name_octets(host));
            octets
        }
        "PTR" => name_octets(value),
        "SOA" => {
            let mut octets = name_octets(value);
            octets.extend(name_octets(value));
            octets.extend([0; 20]);
            octets
        }
        _ => {
            let mut octets = Vec::new();
            for part in value.as_bytes().chunks(255) {
                octets.push(part.len() as u8);
                octets.extend(part);
            }
            octets
        }
    }
}

fn name_octets(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}
