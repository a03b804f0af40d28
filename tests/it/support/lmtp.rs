//! An MTA's side of LMTP, one command after the other.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Lmtp {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Lmtp {
    /// Connects and says LHLO.
    pub fn connect(door: SocketAddr) -> Lmtp {
        let writer = TcpStream::connect(door).unwrap();
        writer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let reader = BufReader::new(writer.try_clone().unwrap());
        let mut lmtp = Lmtp { writer, reader };
        assert!(lmtp.reply().starts_with("220"));
        assert!(lmtp.say("LHLO mta.example").starts_with("250"));
        lmtp
    }

    /// One command, and the last line of its reply.
    pub fn say(&mut self, command: &str) -> String {
        self.writer.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            assert!(line.len() > 3, "the connection ended");
            if line.as_bytes()[3] != b'-' {
                return line.trim_end().to_owned();
            }
        }
    }

    /// A whole message for one recipient. Dots are stuffed here. Answers the reply to the final dot, or to what was refused
    /// before it.
    pub fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> String {
        for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".to_owned()] {
            let reply = self.say(&command);
            if !reply.starts_with(['2', '3']) {
                return reply;
            }
        }
        let mut stuffed = Vec::with_capacity(message.len() + 8);
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        if !stuffed.ends_with(b"\r\n") {
            stuffed.extend_from_slice(b"\r\n");
        }
        stuffed.extend_from_slice(b".\r\n");
        self.writer.write_all(&stuffed).unwrap();
        self.reply()
    }
}
