use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;

use super::ApiError;
use super::json::RawBody;
use crate::api::{ChangeImageRequest, ErrorBody, ImageData, ImageDone, ImagesAnswer, RegisterImageRequest};
use crate::port::Action;
use crate::{Caller, Runvoy};

/// The image that the rest of a path names, whether its slashes are encoded or not.
pub(super) struct ImagePath(String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for ImagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::invalid(format!("image: {error}")))?;
        let segments: Vec<_> = segments.into_iter().map(|(_, segment)| segment).collect();
        Ok(Self(segments.join("/")))
    }
}

/// Every image, by id.
#[utoipa::path(
    get, path = "/images", security(("api_key" = [])),
    responses(
        (status = 200, body = ImagesAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_images(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<ImagesAnswer>, ApiError> {
    let images = runvoy.images(&caller).await?.iter().cloned().map(ImageData::from).collect();
    Ok(Json(ImagesAnswer { images }))
}

/// One image: by its id, by what it was registered as, or by its name and tag.
#[utoipa::path(
    get, path = "/images/{reference}", security(("api_key" = [])),
    params(("reference" = String, Path, description = "the image; slashes may stand as they are")),
    responses(
        (status = 200, body = ImageData), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_image(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    ImagePath(reference): ImagePath,
) -> Result<Json<ImageData>, ApiError> {
    Ok(Json(runvoy.image(&caller, &reference).await?.into()))
}

/// Registers an image. Nothing is fetched or checked.
#[utoipa::path(
    post, path = "/images/register", security(("api_key" = [])), request_body = RegisterImageRequest,
    responses(
        (status = 201, body = ImageDone),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn register_image(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<impl IntoResponse, ApiError> {
    let request: RegisterImageRequest = parse(&runvoy, &caller, &body).await?;
    let image = runvoy.register_image(&caller, &request).await?;
    let message = "Image registered successfully".to_owned();
    let done = ImageDone { image: image.image, message, image_id: image.id.to_string() };
    Ok((StatusCode::CREATED, Json(done)))
}

/// Changes how commands run in an image.
#[utoipa::path(
    put, path = "/images/{reference}", security(("api_key" = [])), request_body = ChangeImageRequest,
    params(("reference" = String, Path, description = "the image's id; slashes may stand as they are")),
    responses(
        (status = 200, body = ImageData),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn put_image(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    ImagePath(id): ImagePath,
    body: RawBody,
) -> Result<Json<ImageData>, ApiError> {
    let request: ChangeImageRequest = parse(&runvoy, &caller, &body).await?;
    Ok(Json(runvoy.change_image(&caller, &id, &request).await?.into()))
}

/// Removes an image from the registry. What runs in it goes on.
#[utoipa::path(
    delete, path = "/images/{reference}", security(("api_key" = [])),
    params(("reference" = String, Path, description = "the image's id; slashes may stand as they are")),
    responses(
        (status = 200, body = ImageDone), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn delete_image(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    ImagePath(id): ImagePath,
) -> Result<Json<ImageDone>, ApiError> {
    let image = runvoy.remove_image(&caller, &id).await?;
    let message = "Image removed successfully".to_owned();
    Ok(Json(ImageDone { image: image.id.to_string(), message, image_id: String::new() }))
}

/// A body; who may not do this at all is told that, and not what is wrong with it.
async fn parse<T: serde::de::DeserializeOwned>(
    runvoy: &Runvoy,
    caller: &Caller,
    body: &RawBody,
) -> Result<T, ApiError> {
    match body.parse() {
        Ok(request) => Ok(request),
        Err(error) => {
            runvoy.check_images(caller, Action::RegisterImage).await?;
            Err(error)
        }
    }
}
