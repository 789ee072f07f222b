//! `runvoy health`: whether the server is well.

use runvoy_core::api::Health;

use super::Context;
use crate::args::HealthArgs;
use crate::error::CliError;
use crate::{exit, table};

/// The command.
pub(crate) async fn health(context: &Context, args: &HealthArgs) -> Result<u8, CliError> {
    let health = context.client()?.get::<Health>("/health").await?;
    if args.output.json() {
        context.printer.data(&health.json())?;
    } else {
        let health = health.value;
        let fields = [
            ("status", Some(health.status)),
            ("version", Some(health.version)),
            ("provider", Some(health.provider)),
            ("region", health.region),
        ];
        context.printer.data(table::fields(&fields).as_bytes())?;
    }
    Ok(exit::OK)
}
