//! The WebSocket of existing clients (RFC 6455) over one reader of a log.

mod frames;
mod line;
mod places;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use tracing::Instrument as _;

use self::frames::Frames;
pub(super) use self::places::Sockets;
use super::query::Params;
use super::{ApiError, request_log};
use crate::api::{DisconnectFrame, ErrorBody, code};
use crate::id::ExecutionId;
use crate::log::{Cursor, event_number};
use crate::{LogStart, RequestContext, Runvoy, limits};

/// Clients have nothing to say but that they close.
const HEARD: usize = 4 * 1024;
/// Bytes that are collected before they are sent.
const COLLECTED: usize = 64 * 1024;
/// Bytes that wait to be sent at most: what was collected and the longest line, escaped and as base64 beside it.
const WAITING: usize = COLLECTED + 8 * limits::LINE_BYTES;

/// Follows an execution to its end, as existing clients do: opened with the `websocket_url` of an answer, as it is.
///
/// Text frames: a `LogEvent` each, and last a `DisconnectFrame`.
#[utoipa::path(
    get, path = "/ws",
    params(
        ("execution_id" = String, Query, description = "the execution"),
        ("token" = String, Query, description = "the stream token of the address"),
        ("last_event_id" = Option<String>, Query, description = "the last `event_id` of an earlier connection: only what follows it"),
    ),
    responses(
        (status = 101, description = "text frames follow", body = DisconnectFrame, content_type = "application/json"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 426, body = ErrorBody), (status = 501, body = ErrorBody),
        (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_socket(
    State(runvoy): State<Runvoy>,
    Extension(context): Extension<RequestContext>,
    Extension(sockets): Extension<Sockets>,
    params: Params,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Some(asked) = params.get("execution_id") else {
        return Err(ApiError::invalid_query("execution_id: is required".to_owned()));
    };
    let (caller, id) = runvoy.authenticate_stream(params.get("token"), asked, context).await?;
    request_log::is_of(caller.user());
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(refused(&rejection)),
    };
    let place = sockets.take(caller.user())?;
    let follow = runvoy.follow(&caller, &id.into(), start(&params, id)?).await?;
    let frames = Frames::of_connection(context.request_id);
    let span = tracing::Span::current();
    let serving = move |socket| {
        async move {
            line::serve(socket, follow, frames, runvoy.draining()).await;
            drop(place);
        }
        .instrument(span)
    };
    Ok(upgrade
        .max_message_size(HEARD)
        .max_frame_size(HEARD)
        .write_buffer_size(COLLECTED)
        .max_write_buffer_size(WAITING)
        .on_upgrade(serving))
}

fn start(params: &Params, id: ExecutionId) -> Result<LogStart, ApiError> {
    let Some(last) = params.get("last_event_id") else { return Ok(LogStart::Beginning) };
    let number = event_number(id, last).and_then(|number| number.checked_add(1));
    let number = number.ok_or_else(|| {
        ApiError::invalid_query("last_event_id: this is no event of this execution".to_owned())
    })?;
    Ok(LogStart::After(Cursor::before_event(number)))
}

/// Who asks for no WebSocket is told to; who does, of a server that cannot have one, is told that.
fn refused(rejection: &WebSocketUpgradeRejection) -> Response {
    if let WebSocketUpgradeRejection::ConnectionNotUpgradable(_) = rejection {
        let details =
            "WebSockets cannot be had here; `GET /executions/{id}/logs/stream` follows the same log";
        let code = Some(code::NOT_IMPLEMENTED);
        return ApiError::new(StatusCode::NOT_IMPLEMENTED, "not implemented", code, Some(details.to_owned()))
            .into_response();
    }
    let code = Some(code::UPGRADE_REQUIRED);
    let details = Some(format!("this is a WebSocket: {rejection}"));
    let mut response =
        ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade required", code, details).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}
