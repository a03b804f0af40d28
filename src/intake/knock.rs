//! Whether the door for received mail is open: a connection, the greeting, and goodbye.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::domain::settings::Listen;

const LIMIT: Duration = Duration::from_secs(5);

/// The greeting of whoever listens there.
///
/// # Errors
/// Why there is none.
pub async fn knock(place: &Listen) -> Result<String, String> {
    let greeting = async {
        match place {
            Listen::Tcp(address) => greeting(TcpStream::connect(address).await).await,
            Listen::Unix(path) => greeting(UnixStream::connect(path).await).await,
        }
    };
    tokio::time::timeout(LIMIT, greeting)
        .await
        .map_err(|_| format!("no greeting within {} s", LIMIT.as_secs()))?
}

async fn greeting<S: AsyncRead + AsyncWrite + Unpin>(
    connected: std::io::Result<S>,
) -> Result<String, String> {
    let mut stream = connected.map_err(|error| error.to_string())?;
    let mut octets = Vec::new();
    while !octets.ends_with(b"\n") && octets.len() < 1000 {
        let octet =
            stream.read_u8().await.map_err(|error| format!("it closes without a greeting: {error}"))?;
        octets.push(octet);
    }
    // What it says to that changes nothing.
    drop(stream.write_all(b"QUIT\r\n").await);
    let line = String::from_utf8_lossy(&octets).trim_end().to_owned();
    if line.starts_with("220") { Ok(line) } else { Err(format!("its greeting is `{line}`")) }
}
