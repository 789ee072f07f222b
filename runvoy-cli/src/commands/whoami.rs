//! `runvoy whoami`: whom the API key belongs to.

use runvoy_core::api::Me;

use super::Context;
use crate::args::WhoamiArgs;
use crate::error::CliError;
use crate::{exit, table, time};

/// The command.
pub(crate) async fn whoami(context: &Context, args: &WhoamiArgs) -> Result<u8, CliError> {
    let me = context.client()?.get::<Me>("/me").await?;
    if args.output.json() {
        context.printer.data(&me.json())?;
    } else {
        let me = me.value;
        let fields = [
            ("email", Some(me.email.to_string())),
            ("role", Some(me.role.to_string())),
            ("key expires", me.key_expires_at.map(time::shown)),
        ];
        context.printer.data(table::fields(&fields).as_bytes())?;
    }
    Ok(exit::OK)
}
