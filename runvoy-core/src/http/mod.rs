//! The HTTP API: the only code in core that knows axum.

mod audit;
mod auth;
mod authz;
mod base;
mod code;
mod error;
mod executions;
mod health;
mod images;
mod json;
mod locks;
mod logs;
mod meta;
mod middleware;
mod people;
mod query;
mod request_log;
mod run;
mod secrets;
mod socket;
mod stream;
mod trace;
mod why;

use axum::Router;
use axum::routing::get;
use tower::ServiceExt as _;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use error::ApiError;
pub use middleware::PeerAddress;

use crate::Runvoy;
use crate::api::{API_KEY_HEADER, BASE_PATH};

/// Every route, for whatever serves HTTP: hyper locally, Lambda on AWS.
///
/// A server that knows the peer's address puts it into each request as a [`PeerAddress`] extension.
pub fn router(runvoy: Runvoy) -> Router {
    let (routes, document) = documented();
    let document: axum::body::Bytes = document.to_json().unwrap_or_default().into();
    let routes = routes
        .route("/openapi.json", get(move || async { meta::openapi(document) }))
        // Clients write collection roots with and without a slash at the end.
        .route("/executions/", get(executions::list_executions))
        .route("/images/", get(images::list_images))
        .route(
            "/images/{reference}/{*rest}",
            get(images::get_image).put(images::put_image).delete(images::delete_image),
        )
        .route("/locks/", get(locks::list_locks))
        .route("/secrets/", get(secrets::list_secrets).post(secrets::post_secret))
        .route("/users/", get(people::list_users))
        .with_state(runvoy.clone());
    let whole = Router::new()
        .nest(BASE_PATH, routes)
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method)
        .layer(axum::Extension(socket::Sockets::default()))
        .layer(axum::extract::DefaultBodyLimit::max(crate::limits::BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(runvoy.clone(), middleware::request))
        .with_state(runvoy);
    let around = whole.map_request(middleware::without_head).map_response(middleware::allow_without_head);
    Router::new().fallback_service(around)
}

/// The OpenAPI document of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().1
}

/// Every documented route, and its document.
fn documented() -> (Router<Runvoy>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = page().split_for_parts();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.head, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.entry("429".to_owned()).or_insert_with(|| too_many_requests().into());
        }
    }
    (routes, document)
}

/// What any route may answer to who asks too often.
fn too_many_requests() -> utoipa::openapi::Response {
    let body = Ref::from_schema_name("ErrorBody");
    ResponseBuilder::new()
        .description("more requests than are let in; `Retry-After` says when to come back")
        .content("application/json", Content::new(Some(body)))
        .build()
}

/// Every documented route on one page.
fn page() -> OpenApiRouter<Runvoy> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(meta::get_health))
        .routes(routes!(health::post_reconcile))
        .routes(routes!(meta::get_greeting))
        .routes(routes!(meta::get_me))
        .routes(routes!(run::post_run))
        .routes(routes!(executions::list_executions))
        .routes(routes!(executions::get_execution, executions::delete_execution))
        .routes(routes!(executions::get_status))
        .routes(routes!(why::get_why))
        .routes(routes!(images::list_images))
        .routes(routes!(images::register_image))
        .routes(routes!(images::get_image, images::put_image, images::delete_image))
        .routes(routes!(secrets::list_secrets, secrets::post_secret))
        .routes(routes!(secrets::get_secret, secrets::put_secret, secrets::delete_secret))
        .routes(routes!(code::head_code, code::put_code))
        .routes(routes!(locks::list_locks))
        .routes(routes!(locks::get_lock, locks::delete_lock))
        .routes(routes!(logs::get_logs))
        .routes(routes!(stream::get_stream))
        .routes(routes!(socket::get_socket))
        .routes(routes!(people::list_users))
        .routes(routes!(people::create_user))
        .routes(routes!(people::revoke_user))
        .routes(routes!(people::rotate_user))
        .routes(routes!(people::get_claim))
        .routes(routes!(authz::post_check))
        .routes(routes!(authz::list_policies))
        .routes(routes!(trace::get_trace))
        .routes(routes!(audit::get_audit))
        .routes(routes!(audit::get_head))
        .routes(routes!(audit::get_verification))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Runvoy", description = "Run commands without holding credentials."),
    servers((url = "/api/v1")),
    components(schemas(
        crate::api::BlockData<'static>,
        crate::api::EndData,
        crate::api::ErrorBody,
        crate::api::GapData,
        crate::api::StatusData,
        crate::log::LogEvent,
    )),
    modifiers(&KeyScheme)
)]
struct Document;

struct KeyScheme;

impl utoipa::Modify for KeyScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(API_KEY_HEADER)));
        document.components.get_or_insert_default().add_security_scheme("api_key", scheme);
    }
}
