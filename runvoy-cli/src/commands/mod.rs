//! One file per command; each takes its arguments and a context.

mod audit;
mod can_i;
mod claim;
mod completions;
mod configure;
mod docs;
mod health;
mod images;
mod kill;
mod list;
#[cfg(all(feature = "local", target_os = "linux"))]
mod local;
mod locks;
mod logs;
mod people;
mod playbook;
mod policies;
mod run;
mod secrets;
mod status;
mod stored_key;
mod trace;
mod version;
mod wait;
mod whoami;
mod why;

use std::future::Future;

use jiff::Timestamp;
use runvoy_core::api::ExecutionRecord;
use runvoy_core::clock::{Clock as _, SystemClock};

use crate::args::{Cli, Command, GlobalArgs};
use crate::client::{Client, Document};
use crate::config::Config;
use crate::duration;
use crate::error::{CliError, Kind};
use crate::printer::Printer;
use crate::settings::{self, Settings, Sources};

/// What commands share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The global options.
    pub(crate) global: GlobalArgs,
    /// The one that prints.
    pub(crate) printer: Printer,
}

impl Context {
    /// A client for the server that is configured.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let sources = Sources::from_process(&self.global);
        let settings = Settings::resolve(&sources, || Config::read(&settings::config_path()?))?;
        Ok(Client::connect(settings))
    }
}

/// Runs what was asked for; answers the exit code.
pub(crate) fn dispatch(cli: Cli, printer: Printer) -> Result<u8, CliError> {
    let context = Context { global: cli.global, printer };
    match cli.command {
        Command::Run(args) => block_on(run::run(&context, &args)),
        Command::Logs(args) => block_on(logs::logs(&context, &args)),
        Command::Status(args) => block_on(status::status(&context, &args)),
        Command::Why(args) => block_on(why::why(&context, &args)),
        Command::List(args) => block_on(list::list(&context, &args)),
        Command::Kill(args) => block_on(kill::kill(&context, &args)),
        Command::Locks(command) => block_on(locks::locks(&context, &command)),
        Command::Images(command) => block_on(images::images(&context, &command)),
        Command::Secrets(command) => block_on(secrets::secrets(&context, &command)),
        Command::Users(command) => block_on(people::users(&context, &command)),
        Command::Claim(args) => block_on(claim::claim(&context, &args)),
        Command::Wait(args) => block_on(wait::wait(&context, &args)),
        Command::Playbook(command) => playbook::playbook(&context, &command),
        Command::Health(args) => block_on(health::health(&context, &args)),
        Command::Whoami(args) => block_on(whoami::whoami(&context, &args)),
        Command::Audit(args) => block_on(audit::audit(&context, &args)),
        Command::Trace(args) => block_on(trace::trace(&context, args)),
        Command::CanI(args) => block_on(can_i::can_i(&context, &args)),
        Command::Policies(command) => block_on(policies::policies(&context, &command)),
        Command::Configure(args) => block_on(configure::configure(&context, &args)),
        #[cfg(all(feature = "local", target_os = "linux"))]
        Command::Local(command) => local::local(&context, &command),
        Command::Completions(args) => completions::completions(&context, &args),
        Command::Version(args) => version::version(&context, &args),
        Command::Docs(args) => docs::docs(&context, &args),
    }
}

/// A client needs one thread; a start of more would cost more than it brings.
fn block_on(command: impl Future<Output = Result<u8, CliError>>) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| no_runtime(&e))?.block_on(command)
}

fn no_runtime(error: &std::io::Error) -> CliError {
    CliError::new(Kind::NotRun, format!("cannot start: {error}"))
}

/// Prints a record as `-o` wants it.
fn print_record(printer: Printer, record: &Document<ExecutionRecord>, json: bool) -> Result<(), CliError> {
    if json { printer.data(&record.json()) } else { status::print(printer, &record.value) }
}

/// A time, or a length of time before now, as milliseconds since the Unix epoch.
fn since(text: &str) -> Result<i64, CliError> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let ago = duration::parse(text).map_err(|_| {
        CliError::new(Kind::Usage, format!("`{text}` is neither a time nor a length of time"))
            .hint("write `2026-01-05T10:00:00Z` or `10m`")
    })?;
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(SystemClock.now().as_millisecond().saturating_sub(ago))
}
