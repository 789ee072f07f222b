//! `runvoy can-i`: may I, and which policy says so.

use runvoy_core::api::{AuthzAnswer, AuthzCheck};
use runvoy_core::id::IdPrefix;

use super::Context;
use crate::args::CanIArgs;
use crate::client::Client;
use crate::error::{CliError, Kind};
use crate::exit;

/// The command.
pub(crate) async fn can_i(context: &Context, args: &CanIArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let check = AuthzCheck {
        action: args.action.to_string(),
        resource: resource(&client, args.resource.as_deref()).await?,
        command: args.command.clone(),
        image: args.image.clone(),
        lock: args.lock.clone(),
        secrets: args.secret.clone(),
        git_repo: args.git_repo.clone(),
        address: args.address.clone(),
        hour: args.hour,
    };
    let answer = client.post::<AuthzAnswer>("/authz/check", &check).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        context.printer.data_line(&sentence(&answer.value))?;
    }
    Ok(if answer.value.allowed { exit::OK } else { exit::DENIED })
}

fn sentence(answer: &AuthzAnswer) -> String {
    let AuthzAnswer { allowed, policy, action, resource } = answer;
    match (allowed, policy) {
        (true, Some(policy)) => format!("yes: policy `{policy}` allows `{action}` on `{resource}`"),
        (true, None) => format!("yes: `{action}` on `{resource}` is allowed"),
        (false, Some(policy)) => format!("no: policy `{policy}` forbids `{action}` on `{resource}`"),
        (false, None) => format!("no: no policy allows you to `{action}` on `{resource}`"),
    }
}

/// The server takes whole ids alone; people copy the beginning of one from a list.
async fn resource(client: &Client, text: Option<&str>) -> Result<Option<String>, CliError> {
    let Some(id) = text.and_then(|text| text.strip_prefix("execution:")) else {
        return Ok(text.map(str::to_owned));
    };
    let id: IdPrefix = id.parse().map_err(|e| CliError::new(Kind::Usage, format!("execution: {e}")))?;
    Ok(Some(format!("execution:{}", client.whole_id(&id).await?)))
}
