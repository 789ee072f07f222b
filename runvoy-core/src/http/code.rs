use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};

use super::ApiError;
use crate::api::{CodeAnswer, ErrorBody};
use crate::port::{BoxError, CodeBody};
use crate::{Caller, Runvoy, UploadOutcome, limits};

/// Whether an archive is there: a run that names it then finds it.
#[utoipa::path(
    head, path = "/code/{sha256}", security(("api_key" = [])),
    params(("sha256" = String, Path, description = "SHA-256 of the archive, 64 lower-case hex digits")),
    responses(
        (status = 200, description = "it is there; `Content-Length` is its size"),
        (status = 400), (status = 401), (status = 403), (status = 404), (status = 503),
    )
)]
pub(super) async fn head_code(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    Path(digest): Path<String>,
) -> Result<Response, ApiError> {
    let size = runvoy.uploaded_code(&caller, &digest).await?;
    Ok(([(header::CONTENT_LENGTH, size)], Body::empty()).into_response())
}

/// Takes an archive (`.tar.gz`), which is checked against its name while it comes. One that is there already stays.
#[utoipa::path(
    put, path = "/code/{sha256}", security(("api_key" = [])),
    params(("sha256" = String, Path, description = "SHA-256 of the archive, 64 lower-case hex digits")),
    request_body(content = Vec<u8>, content_type = "application/gzip"),
    responses(
        (status = 200, body = CodeAnswer, description = "it was there already"),
        (status = 201, body = CodeAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn put_code(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let uploaded = runvoy.upload_code(&caller, &digest, length, patient(body)).await?;
    let status = match uploaded.outcome {
        UploadOutcome::Kept => StatusCode::CREATED,
        UploadOutcome::WasThere => StatusCode::OK,
    };
    Ok((status, Json(CodeAnswer { sha256: uploaded.digest, size: uploaded.size })))
}

/// A body that breaks off where its sender pauses for too long.
fn patient(body: Body) -> CodeBody {
    let pieces = futures_util::stream::unfold(Some(body.into_data_stream()), |body| async {
        let mut body = body?;
        match tokio::time::timeout(limits::BODY_TIMEOUT, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            Ok(Some(Err(error))) => Some((Err(BoxError::from(error)), None)),
            Err(_) => Some((Err("nothing came for too long".into()), None)),
        }
    });
    pieces.boxed()
}
