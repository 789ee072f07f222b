//! The HTTP server and clients that do not behave.
#![cfg(feature = "server")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use runvoy_local::{ServeLimits, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// Tells when an answer is no longer sent.
struct Sending(Arc<Notify>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// An answer without end.
fn endless(over: Arc<Notify>) -> Router {
    let answer = move || {
        let sending = Sending(Arc::clone(&over));
        let pieces = stream::repeat_with(move || {
            let _ = &sending;
            Ok::<_, io::Error>(Bytes::from(vec![b'x'; 65_536]))
        });
        async move { Body::from_stream(pieces) }
    };
    Router::new().route("/", get(answer))
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let over = Arc::new(Notify::new());
    let limits = ServeLimits { write_timeout: Duration::from_millis(50), ..ServeLimits::default() };
    let (stop, stopped) = oneshot::channel::<()>();
    let router = endless(Arc::clone(&over));
    let server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(listener, router, limits, stopped).await
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The client stays, and reads nothing.
    tokio::time::timeout(Duration::from_mins(1), over.notified()).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    drop(client);
}
