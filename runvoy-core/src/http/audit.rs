use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::header;
use tokio::time::timeout;

use super::ApiError;
use super::query::Params;
use crate::api::{AuditHead, AuditVerification, ErrorBody};
use crate::audit::{AuditReport, Head};
use crate::port::BoxError;
use crate::{AuditFilter, AuditPage, Caller, Error, Runvoy};

/// A client hears something within this time, however long a check takes.
const SILENCE: Duration = Duration::from_secs(10);

/// A check of a whole log under way.
type Check = BoxFuture<'static, Result<AuditReport, Error>>;

/// What an export does next: what was found is told before more is looked for.
enum Step {
    Tell(AuditPage),
    Read(u64),
    End,
}

/// The audit records that fit, oldest first, one a line. A line's last field is the record's hash; without it the
/// line is the record's text.
#[utoipa::path(
    get, path = "/audit", security(("api_key" = [])),
    params(
        ("after" = Option<u64>, Query, description = "only what follows the record of this number"),
        ("user" = Option<String>, Query, description = "only this user's"),
        ("action" = Option<String>, Query, description = "only of this action"),
        ("request" = Option<String>, Query, description = "only of the request of this id"),
        ("since" = Option<String>, Query, description = "only from this time on"),
    ),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_audit(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = AuditFilter {
        user: params.parsed("user")?,
        action: params.get("action").map(str::to_owned),
        request: params.parsed("request")?,
        since: params.time("since")?,
    };
    let after = params.number("after")?.unwrap_or(0);
    let first = runvoy.audit(&caller, &filter, after).await?;
    let pages = stream::try_unfold(Step::Tell(first), move |step| {
        let (runvoy, caller, filter) = (runvoy.clone(), caller.clone(), filter.clone());
        async move {
            let AuditPage { records, next } = match step {
                Step::Tell(page) => page,
                Step::Read(after) => runvoy.audit(&caller, &filter, after).await?,
                Step::End => return Ok(None),
            };
            let lines: String = records.iter().map(crate::audit::AuditRecord::to_line).collect();
            Ok::<_, Error>(Some((Bytes::from(lines), next.map_or(Step::End, Step::Read))))
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)).into_response())
}

/// The end of the audit log, authenticated. Anchors the log in a checkpoint, at most once in a minute.
#[utoipa::path(
    get, path = "/audit/head", security(("api_key" = [])),
    responses(
        (status = 200, body = AuditHead), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_head(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<AuditHead>, ApiError> {
    Ok(Json(runvoy.audit_head(&caller).await?.into()))
}

/// Checks the whole audit log, also against a head that was kept elsewhere if `seq` and `hash` name one.
///
/// While a check takes long, there is white space before the JSON.
#[utoipa::path(
    get, path = "/audit/verify", security(("api_key" = [])),
    params(
        ("seq" = Option<u64>, Query, description = "number of the head that was kept"),
        ("hash" = Option<String>, Query, description = "hash of the head that was kept"),
    ),
    responses(
        (status = 200, body = AuditVerification), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_verification(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    let kept = match (params.number("seq")?, params.get("hash")) {
        (Some(seq), Some(hash)) => Some(Head { seq, hash: hash.to_owned() }),
        (None, None) => None,
        _ => return Err(ApiError::invalid_query("seq, hash: a head has both".to_owned())),
    };
    let mut check: Check = Box::pin(async move { runvoy.verify_audit(&caller, kept).await });
    match timeout(SILENCE, &mut check).await {
        Ok(done) => Ok(Json(AuditVerification::from(done?)).into_response()),
        Err(_) => Ok(slowly(check)),
    }
}

/// The answer of a check that takes long: the client sees that somebody is at it. A failure breaks it off.
fn slowly(check: Check) -> Response {
    let steps = stream::try_unfold(Some(check), |check| async move {
        let Some(mut check) = check else { return Ok(None) };
        let Ok(done) = timeout(SILENCE, &mut check).await else {
            return Ok(Some((Bytes::from_static(b"\n"), Some(check))));
        };
        let json = serde_json::to_vec(&AuditVerification::from(done?))?;
        Ok::<_, BoxError>(Some((Bytes::from(json), None)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(steps)).into_response()
}
