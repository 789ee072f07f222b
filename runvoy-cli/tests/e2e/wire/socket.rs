//! A WebSocket client that does what it is told.

use std::net::TcpStream;

use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client::client};

use super::ask::Told;
use crate::harness::PATIENCE;

pub(super) struct Socket(WebSocket<TcpStream>);

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    Frame(Value),
    Ping,
    Close(u16, String),
    /// The connection is over.
    Gone,
}

impl Socket {
    pub(super) fn open(url: &str) -> Self {
        Self::open_with(url, &[]).unwrap_or_else(|told| panic!("{url}: {told:?}"))
    }

    /// Opens an address as it is; what was told instead of a socket.
    pub(super) fn open_with(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Told> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match client(request, stream) {
            Ok((socket, response)) => {
                assert_eq!(response.headers().get("sec-websocket-protocol"), None);
                Ok(Self(socket))
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(Told {
                status: response.status().as_u16(),
                headers: response
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .collect(),
                body: String::from_utf8(response.body().clone().unwrap_or_default()).unwrap(),
            }),
            Err(other) => panic!("{url}: {other}"),
        }
    }

    /// The same over a connection on which the handshake is done.
    pub(super) fn shaken(stream: TcpStream) -> Self {
        use tokio_tungstenite::tungstenite::protocol::Role;

        Self(WebSocket::from_raw_socket(stream, Role::Client, None))
    }

    pub(super) fn next(&mut self) -> Heard {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Heard::Frame(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_)) => return Heard::Ping,
                Ok(Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                    let (code, reason) = frame.unwrap_or((1005, String::new()));
                    return Heard::Close(code, reason);
                }
                Ok(other) => panic!("no text: {other:?}"),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came")
                }
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// The next text frame; pings are answered and not told of.
    pub(super) fn frame(&mut self) -> Value {
        loop {
            match self.next() {
                Heard::Frame(frame) => return frame,
                Heard::Ping => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The messages of all log frames up to the disconnect frame, and that.
    pub(super) fn read_to_end(&mut self) -> (Vec<Value>, Value) {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame();
            if frame["type"] == "disconnect" {
                return (frames, frame);
            }
            frames.push(frame);
        }
    }

    /// Reads until a log frame says this.
    pub(super) fn until(&mut self, message: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame();
            frames.push(frame.clone());
            if frame["message"] == message {
                return frames;
            }
        }
    }

    pub(super) fn send_close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.0.close(Some(frame)).unwrap();
    }

    /// How the connection ends, whatever comes before.
    pub(super) fn ends_with(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Heard::Close(code, reason) => return (code, reason),
                Heard::Gone => panic!("it ended without a Close"),
                Heard::Frame(_) | Heard::Ping => {}
            }
        }
    }

    /// Drops the connection as a client that was killed.
    pub(super) fn kill(self) {
        drop(self.0);
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

/// The messages of frames.
pub(super) fn said(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["message"].as_str().unwrap()).collect()
}
