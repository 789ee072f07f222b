//! `runvoy local rotate-master-key`: everything is sealed anew.

use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_local::{DataDir, RotateError, Rotated, rotate_master_key};

use super::not_started;
use super::place::{data_dir, unusable};
use super::preset::master_key;
use crate::args::RotateMasterKeyArgs;
use crate::commands::Context;
use crate::env_vars::{MASTER_KEY, NEW_MASTER_KEY};
use crate::error::CliError;
use crate::exit;

/// The command. It starts nothing that could look into its environment.
pub(super) fn rotate(context: &Context, args: &RotateMasterKeyArgs) -> Result<u8, CliError> {
    let key = |name| master_key(name, &std::env::var(name).unwrap_or_default());
    let (old, new) = (key(MASTER_KEY)?, key(NEW_MASTER_KEY)?);
    let path = data_dir(args.data_dir.as_ref())?;
    let dir = DataDir::open(&path).map_err(unusable)?;
    let is_in_file = new.is_none();
    let rotated = rotate_master_key(&dir, old, new, SystemClock.now()).map_err(|error| match error {
        RotateError::NoNewKey => not_started(error)
            .hint(format!("set {NEW_MASTER_KEY} to the new key; `openssl rand -hex 32` makes one")),
        other => not_started(other),
    })?;
    let place = if is_in_file {
        format!("the new key is in {}", dir.master_key().display())
    } else {
        format!("set {MASTER_KEY} to the new key before you start the server")
    };
    match rotated {
        Rotated::Now(sealed) => context.printer.note(&format!(
            "sealed anew: {} secrets, {} requests of live executions; {place}",
            sealed.secrets, sealed.requests
        )),
        Rotated::Before => context.printer.note(&format!("nothing was left to be sealed anew; {place}")),
    }
    Ok(exit::OK)
}
