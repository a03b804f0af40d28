//! One listener: accepts, bounds, answers. Whatever a peer does, it costs one of a fixed number of places for a fixed time.
//!
//! HTTP/1.1 only: private pages are asked by programs on the same network, public ones through a proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::public::Peer;
use crate::runtime::Shutdown;

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At the same time; further ones wait in the operating system's queue.
    pub connections: usize,
    /// For a request's head.
    pub head: Duration,
    /// For a connection as a whole, however many requests it carries.
    pub whole: Duration,
    /// More for the answer that is under way then: a large file on a slow line.
    pub answer: Duration,
    /// Of a request's head, in bytes; a longer one is answered with 431.
    pub head_bytes: usize,
}

impl Limits {
    /// For programs that ask now and then.
    pub const PRIVATE: Limits = Limits {
        connections: 64,
        head: Duration::from_secs(5),
        whole: Duration::from_secs(60),
        // 25 MB within it are 220 kbit/s.
        answer: Duration::from_secs(900),
        head_bytes: 16 << 10,
    };
}

impl Limits {
    /// For everybody, through a proxy or not.
    pub const PUBLIC: Limits = Limits {
        connections: 512,
        head: Duration::from_secs(10),
        whole: Duration::from_secs(60),
        answer: LAST_ANSWER,
        head_bytes: 16 << 10,
    };
}

/// A connection whose time is over may end the answer that it is in. Short, because the end of the process waits for it, and has
/// its own end to write down.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, pages: Router, limits: Limits, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            // It is never closed.
            place = places.clone().acquire_owned() => place.ok(),
            () = shutdown.wait() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (pages, shutdown) = (pages.clone(), shutdown.clone());
                open.spawn(async move {
                    answer((stream, peer), pages, limits, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only turn the loop.
                tracing::debug!(%error, "a page's connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    let ended = tokio::time::timeout(LAST_ANSWER, async { while open.join_next().await.is_some() {} });
    // What is still open is cut with the set.
    drop(ended.await);
}

async fn answer((stream, peer): (TcpStream, SocketAddr), pages: Router, limits: Limits, shutdown: Shutdown) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.head_bytes);
    let service = TowerToHyperService::new(pages.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    }));
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let is_over = tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(limits.whole) => true,
        () = shutdown.wait() => false,
    };
    connection.as_mut().graceful_shutdown();
    if is_over {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(limits.answer) => {}
            () = shutdown.wait() => {}
        }
    }
    // A peer that does not read is cut in the middle of its answer.
    drop(tokio::time::timeout(LAST_ANSWER, connection).await);
}
