//! `runvoy users`: who is known, who gets a key, who loses it.

use runvoy_core::api::{
    CreateUserRequest, InvitationAnswer, RevokeAnswer, RevokeUserRequest, RotateUserRequest, UserData,
    UsersAnswer,
};

use super::Context;
use crate::args::{UsersCommand, UsersCreateArgs, UsersListArgs, UsersRevokeArgs, UsersRotateArgs};
use crate::client::Document;
use crate::error::CliError;
use crate::time::shown as time;
use crate::{exit, table};

/// The command.
pub(crate) async fn users(context: &Context, command: &UsersCommand) -> Result<u8, CliError> {
    match command {
        UsersCommand::List(args) => list(context, *args).await,
        UsersCommand::Create(args) => create(context, args).await,
        UsersCommand::Revoke(args) => revoke(context, args).await,
        UsersCommand::Rotate(args) => rotate(context, args).await,
    }
}

async fn list(context: &Context, args: UsersListArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<UsersAnswer>("/users/").await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        let rows: Vec<_> = answer.value.users.iter().map(row).collect();
        let head = ["EMAIL", "ROLE", "KEY", "LAST USED", "CREATED"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

fn row(user: &UserData) -> [String; 5] {
    [
        user.email.to_string(),
        user.role.to_string(),
        key(user),
        user.last_used.map_or_else(|| "-".to_owned(), time),
        time(user.created_at),
    ]
}

fn key(user: &UserData) -> String {
    match (user.claim_expires_at, user.key_expires_at) {
        _ if user.revoked => "revoked".to_owned(),
        (Some(at), _) => format!("to be claimed by {}", time(at)),
        (None, Some(at)) if user.key_expired => format!("expired {}", time(at)),
        (None, Some(at)) => format!("until {}", time(at)),
        (None, None) => "good".to_owned(),
    }
}

async fn create(context: &Context, args: &UsersCreateArgs) -> Result<u8, CliError> {
    let request = CreateUserRequest {
        email: args.email.to_string(),
        role: args.role.to_string(),
        api_key: None,
        expires_in: args.expires.map(|time| time.as_secs()),
    };
    let answer = context.client()?.post::<InvitationAnswer>("/users/create", &request).await?;
    invite(context, &answer, args.output.json())
}

async fn rotate(context: &Context, args: &UsersRotateArgs) -> Result<u8, CliError> {
    let expires_in = args.expires.map(|time| time.as_secs());
    let request = RotateUserRequest { email: args.email.to_string(), expires_in };
    let answer = context.client()?.post::<InvitationAnswer>("/users/rotate", &request).await?;
    context.printer.note(&format!("the key that {} had does not work any more", args.email));
    invite(context, &answer, args.output.json())
}

/// Prints the claim token, the one thing that is wanted of it, and what to do with it.
fn invite(context: &Context, answer: &Document<InvitationAnswer>, json: bool) -> Result<u8, CliError> {
    let InvitationAnswer { user, claim_token, warning } = &answer.value;
    if let Some(warning) = warning {
        context.printer.warn(warning);
    }
    let printed = if json {
        context.printer.data(&answer.json())
    } else {
        context.printer.note(&format!(
            "{} fetches the key with `runvoy claim TOKEN`, once and within 15 minutes; the token:",
            user.email
        ));
        context.printer.data_line(claim_token)
    };
    // Nobody can read it a second time, and a terminal's log is no place for it.
    let lost = || format!("the claim token is lost: `runvoy users rotate {}` makes another one", user.email);
    printed.map_err(|error| context.printer.unwritten(error, &lost()))?;
    Ok(exit::OK)
}

async fn revoke(context: &Context, args: &UsersRevokeArgs) -> Result<u8, CliError> {
    let request = RevokeUserRequest { email: args.email.to_string() };
    let answer = context.client()?.post::<RevokeAnswer>("/users/revoke", &request).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        context.printer.note(&format!("the key of {} does not work any more", args.email));
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_as_what_it_is_worth() {
        let shown = |fields: &str| {
            let id = "0".repeat(32);
            let json = format!(
                r#"{{"email": "a@b.test", "role": "viewer", "created_at": "2026-01-05T10:00:00Z", {fields},
                "created_by_request_id": "{id}", "modified_by_request_id": "{id}"}}"#
            );
            key(&serde_json::from_str(&json).unwrap())
        };
        let date = r#""key_expires_at": "2026-01-05T10:00:00Z""#;
        assert_eq!(shown(r#""revoked": false"#), "good");
        assert_eq!(shown(&format!(r#""revoked": false, {date}"#)), "until 2026-01-05 10:00:00Z");
        let expired = format!(r#"{date}, "key_expired": true"#);
        assert_eq!(shown(&format!(r#""revoked": false, {expired}"#)), "expired 2026-01-05 10:00:00Z");
        assert_eq!(shown(&format!(r#""revoked": true, {expired}"#)), "revoked");
        let claim = r#""revoked": false, "claim_expires_at": "2026-01-05T10:15:00Z""#;
        assert_eq!(shown(&format!("{claim}, {date}")), "to be claimed by 2026-01-05 10:15:00Z");
    }
}
