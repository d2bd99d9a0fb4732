//! Exec, attach and port-forward: WebSockets on which each message begins with the number of its stream, the protocol
//! `v4.channel.k8s.io` of the Kubernetes API.

use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::client::Cri;
use crate::harness::limit;

/// The streams of exec and attach.
pub(crate) const STDIN: u8 = 0;
/// Standard output; the terminal, where there is one.
pub(crate) const STDOUT: u8 = 1;
/// Standard error.
pub(crate) const STDERR: u8 = 2;
/// How it ended, as JSON.
const STATUS: u8 = 3;
/// The size of the terminal, as JSON.
pub(crate) const RESIZE: u8 = 4;

/// The streams of one request.
pub(crate) struct Streams {
    socket: WebSocket<TcpStream>,
    seen: Vec<Vec<u8>>,
    open: bool,
}

impl Streams {
    /// Connects to a URL that the engine has given, in the engine's network.
    #[track_caller]
    pub(crate) fn open(cri: &Cri, url: &str) -> Streams {
        let mut request = url.replacen("http:", "ws:", 1).into_client_request().unwrap();
        let port = request.uri().port_u16().expect(url);
        request.headers_mut().insert("Sec-WebSocket-Protocol", "v4.channel.k8s.io".parse().unwrap());
        let stream = cri.place.connect(port);
        let (socket, _) =
            tungstenite::client(request, stream).unwrap_or_else(|error| panic!("{url}: {error}"));
        Streams { socket, seen: vec![Vec::new(); 5], open: true }
    }

    /// Sends on a stream.
    pub(crate) fn send(&mut self, stream: u8, data: &[u8]) {
        self.socket.send(Message::binary([&[stream], data].concat())).unwrap();
    }

    /// Reads on until a stream has these words.
    #[track_caller]
    pub(crate) fn see(&mut self, stream: u8, words: &str) {
        let end = Instant::now() + limit(20);
        while !self.text(stream).contains(words) {
            assert!(self.open && Instant::now() < end, "{words:?} is missing: {:?}", self.texts());
            self.read();
        }
    }

    /// Reads to the end, and returns the exit code.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i64 {
        let end = Instant::now() + limit(20);
        while self.open && self.seen[usize::from(STATUS)].is_empty() {
            assert!(Instant::now() < end, "no end: {:?}", self.texts());
            self.read();
        }
        let status: Value = serde_json::from_str(&self.text(STATUS)).unwrap_or_default();
        match status["status"].as_str() {
            Some("Success") => 0,
            _ => {
                let code = status["details"]["causes"][0]["message"].as_str();
                code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{status}"))
            }
        }
    }

    /// What a stream has said so far.
    pub(crate) fn text(&self, stream: u8) -> String {
        String::from_utf8_lossy(&self.seen[usize::from(stream)]).into_owned()
    }

    /// What a stream has said so far, byte for byte.
    pub(crate) fn bytes(&self, stream: u8) -> &[u8] {
        &self.seen[usize::from(stream)]
    }

    fn texts(&self) -> Vec<String> {
        (0..5).map(|stream| self.text(stream)).collect()
    }

    /// One message; an engine ends a stream without the farewell of the protocol.
    fn read(&mut self) {
        match self.socket.read() {
            Ok(Message::Binary(data)) => {
                if let Some((&stream, data)) = data.split_first() {
                    self.seen[usize::from(stream)].extend_from_slice(data);
                }
            }
            Ok(Message::Close(_)) | Err(_) => self.open = false,
            Ok(_) => {}
        }
    }
}
