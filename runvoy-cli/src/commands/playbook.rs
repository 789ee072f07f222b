//! `runvoy playbook`: runs that are written down.

use std::path::PathBuf;

use runvoy_core::id::PlaybookName;
use serde::Serialize;

use super::run::{RunSettings, go};
use super::{Context, block_on};
use crate::args::{PlaybookCommand, PlaybookListArgs, PlaybookRunArgs, PlaybookShowArgs};
use crate::error::{CliError, Kind};
use crate::playbook::{Places, Playbook};
use crate::{exit, table};

/// A playbook, or what is wrong with its file.
#[derive(Serialize)]
struct Entry {
    name: PlaybookName,
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    playbook: Option<Playbook>,
}

impl Entry {
    fn new(name: PlaybookName, file: PathBuf) -> Self {
        let (playbook, error) = match Playbook::read(&file) {
            Ok(playbook) => (Some(playbook), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { name, file, error, playbook }
    }
}

/// The command.
pub(crate) fn playbook(context: &Context, command: &PlaybookCommand) -> Result<u8, CliError> {
    match command {
        PlaybookCommand::List(args) => list(context, *args),
        PlaybookCommand::Show(args) => show(context, args),
        PlaybookCommand::Run(args) => block_on(run(context, args)),
    }
}

/// A broken file is shown among the others, so that it can be mended.
fn list(context: &Context, args: PlaybookListArgs) -> Result<u8, CliError> {
    let found = Places::of_process().list()?;
    let entries: Vec<_> = found.into_iter().map(|(name, file)| Entry::new(name, file)).collect();
    if args.output.json() {
        context.printer.data(&json(&entries)?)?;
    } else if entries.is_empty() {
        context.printer.note("no playbooks: `.runvoy/NAME.yaml` would be one");
    } else {
        let rows: Vec<_> = entries.iter().map(row).collect();
        let head = ["PLAYBOOK", "FILE", "DESCRIPTION"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

fn row(entry: &Entry) -> [String; 3] {
    let description = entry.playbook.as_ref().and_then(|playbook| playbook.description.clone());
    let error = entry.error.as_ref().map(|error| format!("error: {error}"));
    let said = error.or(description).unwrap_or_default();
    [entry.name.to_string(), entry.file.display().to_string(), said]
}

fn show(context: &Context, args: &PlaybookShowArgs) -> Result<u8, CliError> {
    let file = Places::of_process().find(&args.name)?;
    let playbook = Playbook::read(&file)?;
    if args.output.json() {
        let entry = Entry { name: args.name.clone(), file, error: None, playbook: Some(playbook) };
        context.printer.data(&json(&entry)?)?;
        return Ok(exit::OK);
    }
    let head = [("playbook", Some(args.name.to_string())), ("file", Some(file.display().to_string()))];
    let fields: Vec<_> = head.into_iter().chain(playbook.fields()).collect();
    context.printer.data(table::fields(&fields).as_bytes())?;
    Ok(exit::OK)
}

async fn run(context: &Context, args: &PlaybookRunArgs) -> Result<u8, CliError> {
    let playbook = Playbook::read(&Places::of_process().find(&args.name)?)?;
    let environment = std::env::vars_os().collect();
    let settings = RunSettings::over(playbook.request(), &args.options, &environment)?;
    go(context, settings, &args.manner).await
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, CliError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| CliError::new(Kind::NotRun, "the playbooks cannot be written as JSON").because(e))?;
    text.push(b'\n');
    Ok(text)
}
