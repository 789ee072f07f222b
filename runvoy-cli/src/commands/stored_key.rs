//! A key that a configuration holds is somebody's, and the only copy: it is not replaced by mistake.

use runvoy_core::api::Me;

use crate::client::Client;
use crate::error::{CliError, Kind};
use crate::settings::{self, Settings};

/// What to do instead, or to insist.
const KEEP: &str = "pass `--profile NAME` to keep both, or `--force` to replace it";

/// Refuses if the key that a profile holds for `endpoint` still works, or cannot be tried at `server`.
pub(super) async fn must_be_worthless(
    server: &Settings,
    key: Option<&str>,
    endpoint: Option<&str>,
) -> Result<(), CliError> {
    let Some(key) = key else { return Ok(()) };
    if endpoint.map(|endpoint| endpoint.trim_end_matches('/')) != Some(server.endpoint.as_str()) {
        return Err(CliError::new(Kind::Usage, "the profile holds the key of another server").hint(KEEP));
    }
    let client = Client::connect(Settings { key: Some(settings::key_header(key)?), ..server.clone() });
    match client.get::<Me>("/me").await {
        Ok(me) => {
            let what = format!("the profile holds a key of {} that works", me.value.email);
            Err(CliError::new(Kind::Usage, what).hint(KEEP))
        }
        Err(error) if error.kind == Kind::Denied => Ok(()),
        Err(error) => {
            Err(error.hint(format!("whether the key that the profile holds works is not known: {KEEP}")))
        }
    }
}
