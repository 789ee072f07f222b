//! `runvoy secrets`: values that commands get and logs do not show.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use console::Term;
use runvoy_core::api::{
    CreateSecretRequest, SecretAnswer, SecretData, SecretDone, SecretsAnswer, UpdateSecretRequest,
};
use runvoy_core::limits;

use super::Context;
use crate::args::{
    SecretsCommand, SecretsCreateArgs, SecretsDeleteArgs, SecretsGetArgs, SecretsListArgs, SecretsUpdateArgs,
    ValueArgs,
};
use crate::client::Document;
use crate::error::{CliError, Kind};
use crate::printer::Printer;
use crate::{exit, table, time};

/// More than any value has, also without the end of its line: no more is read, so that how much there is is not known.
const MOST: u64 = limits::SECRET_BYTES as u64 + 3;
/// Values of fewer characters are not masked: they occur everywhere by chance.
const SHORTEST_MASKED: usize = 4;

/// The command.
pub(crate) async fn secrets(context: &Context, command: &SecretsCommand) -> Result<u8, CliError> {
    match command {
        SecretsCommand::Create(args) => create(context, args).await,
        SecretsCommand::List(args) => list(context, *args).await,
        SecretsCommand::Get(args) => get(context, args).await,
        SecretsCommand::Update(args) => update(context, args).await,
        SecretsCommand::Delete(args) => delete(context, args).await,
    }
}

async fn create(context: &Context, args: &SecretsCreateArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let value = match (&args.argument, given(&args.value, context.printer)?) {
        (Some(argument), _) => literal(argument, context.printer)?,
        (None, Some(value)) => value,
        (None, None) => ask(args.name.as_str())?,
    };
    let is_short = is_too_short(&value);
    let request = CreateSecretRequest {
        name: args.name.to_string(),
        key_name: args.key_name.clone(),
        description: args.description.clone(),
        value,
    };
    let done = client.post::<SecretDone>("/secrets", &request).await?;
    let said = format!("{} is kept; `runvoy run --secret {}` gives it to a command", args.name, args.name);
    told(context.printer, &done, args.output.json(), &said)?;
    warn_if(is_short, context.printer);
    Ok(exit::OK)
}

/// Whether logs will show a value.
fn is_too_short(value: &str) -> bool {
    value.chars().count() < SHORTEST_MASKED
}

fn warn_if(is_short: bool, printer: Printer) {
    if is_short {
        printer.warn(&format!(
            "the value has fewer than {SHORTEST_MASKED} characters, which is too short to be masked: logs show it"
        ));
    }
}

async fn list(context: &Context, args: SecretsListArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<SecretsAnswer>("/secrets").await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else if answer.value.secrets.is_empty() {
        context
            .printer
            .note("there is no secret that you may read; `runvoy secrets create NAME KEY_NAME` makes one");
    } else {
        let rows: Vec<_> = answer.value.secrets.iter().map(row).collect();
        let head = ["NAME", "KEY NAME", "VERSION", "OWNER", "UPDATED", "DESCRIPTION"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

fn row(secret: &SecretData) -> [String; 6] {
    [
        secret.name.to_string(),
        secret.key_name.clone(),
        secret.version.to_string(),
        owners(secret),
        time::shown(secret.updated_at),
        secret.description.clone(),
    ]
}

fn owners(secret: &SecretData) -> String {
    secret.owned_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

async fn get(context: &Context, args: &SecretsGetArgs) -> Result<u8, CliError> {
    let query = if args.reveal { "" } else { "?value=false" };
    let answer = context.client()?.get::<SecretAnswer>(&format!("/secrets/{}{query}", args.name)).await?;
    let secret = &answer.value.secret;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else if args.reveal {
        let mut value = secret.value.clone().unwrap_or_default();
        // A script gets what is kept; a terminal a line.
        if io::stdout().is_terminal() && !value.ends_with('\n') {
            value.push('\n');
        }
        context.printer.data(value.as_bytes())?;
    } else {
        context.printer.data(fields(secret).as_bytes())?;
    }
    Ok(exit::OK)
}

fn fields(secret: &SecretData) -> String {
    table::fields(&[
        ("name", Some(secret.name.to_string())),
        ("key name", Some(secret.key_name.clone())),
        ("value", Some("*** (`--reveal` shows it)".to_owned())),
        ("version", Some(secret.version.to_string())),
        ("description", Some(secret.description.clone())),
        ("created by", Some(secret.created_by.to_string())),
        ("owners", Some(owners(secret))),
        ("created", Some(time::shown(secret.created_at))),
        ("updated", Some(time::shown(secret.updated_at))),
        ("updated by", Some(secret.updated_by.to_string())),
    ])
}

async fn update(context: &Context, args: &SecretsUpdateArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let mut value = given(&args.value, context.printer)?;
    if value.is_none() && args.key_name.is_none() && args.description.is_none() {
        value = Some(ask(args.name.as_str())?);
    }
    let is_short = value.as_deref().is_some_and(is_too_short);
    let request =
        UpdateSecretRequest { key_name: args.key_name.clone(), description: args.description.clone(), value };
    let done = client.put::<SecretDone>(&format!("/secrets/{}", args.name), &request).await?;
    let said = format!("{} is changed; it has version {}", args.name, done.value.version);
    told(context.printer, &done, args.output.json(), &said)?;
    warn_if(is_short, context.printer);
    Ok(exit::OK)
}

async fn delete(context: &Context, args: &SecretsDeleteArgs) -> Result<u8, CliError> {
    let done = context.client()?.delete::<SecretDone>(&format!("/secrets/{}", args.name)).await?;
    told(context.printer, &done, args.output.json(), &format!("{} is deleted", args.name))
}

fn told(printer: Printer, done: &Document<SecretDone>, json: bool, said: &str) -> Result<u8, CliError> {
    if json {
        printer.data(&done.json())?;
    } else {
        printer.note(said);
    }
    Ok(exit::OK)
}

/// A value that an option names.
fn given(args: &ValueArgs, printer: Printer) -> Result<Option<String>, CliError> {
    match (&args.value, &args.value_file) {
        (Some(value), _) => literal(value, printer).map(Some),
        (None, Some(path)) => from_file(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// What stands on the command line: `-` for standard input.
fn literal(value: &str, printer: Printer) -> Result<String, CliError> {
    if value != "-" {
        printer.warn("the value is on the command line, where `ps` and your shell's history have it; leave it out and it is asked for");
        return Ok(value.to_owned());
    }
    let text = text("standard input", io::stdin().lock())?;
    // As `$(…)` would, but one.
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    checked(line.unwrap_or(&text).to_owned())
}

fn from_file(path: &Path) -> Result<String, CliError> {
    let name = format!("`{}`", path.display());
    let file = std::fs::File::open(path).map_err(|e| unreadable(&name, e))?;
    checked(text(&name, file)?)
}

/// All there is, or no more than is too much.
fn text(name: &str, source: impl io::Read) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    source.take(MOST).read_to_end(&mut bytes).map_err(|e| unreadable(name, e))?;
    if bytes.len() as u64 == MOST {
        // Where it was cut may be within a character.
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|_| unreadable(name, "it is not UTF-8"))
}

fn ask(name: &str) -> Result<String, CliError> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::new(Kind::Usage, "there is no value, and no terminal to ask on")
            .hint("pass `--value -` and write it to standard input, or `--value-file FILE`"));
    }
    let terminal = Term::stderr();
    let prompt = format!("Value of {name} (not shown): ");
    let answer = terminal.write_str(&prompt).and_then(|()| terminal.read_secure_line());
    checked(answer.map_err(|e| unreadable("the terminal", e))?)
}

fn checked(value: String) -> Result<String, CliError> {
    match value.len() {
        0 => Err(CliError::new(Kind::Usage, "the value is empty")),
        1..=limits::SECRET_BYTES => Ok(value),
        _ => Err(too_long()),
    }
}

fn too_long() -> CliError {
    let what = format!("the value has more than {} bytes, which is the limit", limits::SECRET_BYTES);
    CliError::new(Kind::Usage, what)
}

fn unreadable(what: &str, error: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Usage, format!("the value cannot be read from {what}: {error}"))
}
