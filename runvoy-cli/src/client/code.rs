//! Bringing code to the server.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use runvoy_core::api::CodeAnswer;
use runvoy_core::code::CodeDigest;
use tokio::io::AsyncReadExt as _;

use super::transport::{Body, BoxError};
use super::{Call, Client, Document, failure};
use crate::error::{CliError, Kind};

/// Bytes that are read and sent at once.
const PIECE: usize = 256 * 1024;
/// The answer comes once all is sent and kept: how long that may take is its sender's matter.
const NO_HURRY: Duration = Duration::from_hours(2);

impl Client {
    /// Whether the server has an archive.
    pub(crate) async fn has_code(&self, digest: CodeDigest) -> Result<bool, CliError> {
        let path = format!("/code/{digest}");
        let call = Call { method: Method::HEAD, ..Call::get(&path) };
        let response = self.send(&call).await.map_err(|e| self.unreachable(e))?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => {
                Err(self.with_key_hint(status, failure::of_head(status, &self.endpoint, "upload code")))
            }
        }
    }

    /// Sends an archive from its beginning; `sent` counts the bytes that are under way.
    pub(crate) async fn send_code(
        &self,
        digest: CodeDigest,
        mut file: File,
        size: u64,
        sent: Arc<AtomicU64>,
    ) -> Result<Document<CodeAnswer>, CliError> {
        let unreadable =
            |e: std::io::Error| CliError::new(Kind::NotRun, format!("the packed code cannot be read: {e}"));
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let path = format!("/code/{digest}");
        let call = Call { method: Method::PUT, wait: NO_HURRY, ..Call::get(&path) };
        let head = self.head(&call).header(CONTENT_TYPE, "application/gzip").header(CONTENT_LENGTH, size);
        let response =
            self.exchange(&call, head, pieces(file, sent)).await.map_err(|e| self.unreachable(e))?;
        self.document(&call, response).await
    }
}

/// A file as a body that is never in memory as a whole.
fn pieces(file: File, sent: Arc<AtomicU64>) -> Body {
    let file = tokio::fs::File::from_std(file);
    let pieces = stream::try_unfold((file, sent), |(mut file, sent)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await.map_err(BoxError::from)?;
        sent.fetch_add(read as u64, Ordering::Relaxed);
        let piece: Bytes = piece.freeze();
        Ok((read > 0).then(|| (Frame::data(piece), (file, sent))))
    });
    StreamBody::new(pieces).boxed_unsync()
}
