//! `runvoy docs`: the reference of every command, made from their definitions.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use clap::CommandFactory as _;

use super::Context;
use crate::args::{Cli, DocsArgs, DocsFormat};
use crate::error::{CliError, Kind};
use crate::{env_vars, exit};

/// The command.
pub(crate) fn docs(context: &Context, args: &DocsArgs) -> Result<u8, CliError> {
    match args.format {
        DocsFormat::Man if std::io::stdout().is_terminal() => read(context)?,
        DocsFormat::Man => context.printer.data(&man()?)?,
        DocsFormat::Markdown => context.printer.data(markdown().as_bytes())?,
    }
    Ok(exit::OK)
}

/// A terminal gets the page as `man` shows it, or, where there is none, the same as text.
fn read(context: &Context) -> Result<(), CliError> {
    let page = man()?;
    match shown_by_man(&page) {
        Ok(true) => Ok(()),
        _ => context.printer.data(markdown().as_bytes()),
    }
}

/// Whether `man` took the page.
fn shown_by_man(page: &[u8]) -> std::io::Result<bool> {
    let mut man =
        Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = man.stdin.take() {
        // A reader may leave before the end, and one that is none says so by its exit code.
        let _ = stdin.write_all(page);
    }
    Ok(man.wait()?.success())
}

/// Every command's help, then exit codes and environment.
fn markdown() -> String {
    let mut out = String::from("# The `runvoy` command\n");
    for_each(&mut root(), &mut |command| {
        let name = command.get_bin_name().unwrap_or("runvoy").to_owned();
        let help = command.render_long_help().to_string();
        // Lines of an empty help text keep blanks at their ends.
        let help: Vec<_> = help.trim().lines().map(str::trim_end).collect();
        let _ = write!(out, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n"));
    });
    let _ = write!(out, "\n## Exit codes\n\n{}", exit::TABLE);
    let _ = write!(out, "\n## Environment\n\n| variable | holds |\n| --- | --- |\n");
    for (name, what) in env_vars::TABLE {
        let _ = writeln!(out, "| `{name}` | {what} |");
    }
    out
}

/// One man page: the root's, then a section a command.
fn man() -> Result<Vec<u8>, CliError> {
    let mut root = root();
    let failed = |e: std::io::Error| CliError::new(Kind::NotRun, format!("the man page cannot be made: {e}"));
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(root.clone());
    man.render_title(&mut page).map_err(failed)?;
    man.render_name_section(&mut page).map_err(failed)?;
    man.render_synopsis_section(&mut page).map_err(failed)?;
    man.render_options_section(&mut page).map_err(failed)?;
    let mut text = String::new();
    for_each(&mut root, &mut |command| {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        if name == "runvoy" {
            return;
        }
        let help = command.render_long_help().to_string();
        let _ = writeln!(text, ".SH {}\n.nf\n{}\n.fi", name.to_uppercase(), roff(&help));
    });
    let codes = exit::TABLE.lines().skip(2);
    let codes: Vec<_> = codes.map(|row| row.trim_matches(['|', ' ']).replacen(" | ", ": ", 1)).collect();
    let _ = writeln!(text, ".SH EXIT CODES\n.nf\n{}\n.fi", roff(&codes.join("\n")));
    let variables: Vec<_> = env_vars::TABLE.iter().map(|(name, what)| format!("{name}: {what}")).collect();
    let _ = writeln!(text, ".SH ENVIRONMENT\n.nf\n{}\n.fi", roff(&variables.join("\n")));
    page.extend_from_slice(text.as_bytes());
    Ok(page)
}

/// As plain text in a man page.
fn roff(text: &str) -> String {
    let escaped = text.trim().replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<_> = escaped.lines().map(|line| format!("\\&{}", line.trim_end())).collect();
    lines.join("\n")
}

fn root() -> clap::Command {
    let mut root = Cli::command().term_width(100);
    root.build();
    root
}

/// The command itself and everything below it, in the order of the help.
fn for_each(command: &mut clap::Command, show: &mut impl FnMut(&mut clap::Command)) {
    show(command);
    command.get_subcommands_mut().for_each(|below| for_each(below, show));
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "local")]
    #[test]
    fn the_reference_is_as_reviewed() {
        insta::assert_snapshot!("reference", super::markdown());
    }

    #[test]
    fn the_man_page_has_every_command() {
        let page = String::from_utf8(super::man().unwrap()).unwrap();
        for heading in [".TH", "RUNVOY RUN", "RUNVOY LOGS", "EXIT CODES", "ENVIRONMENT"] {
            assert!(page.contains(heading), "{heading}");
        }
    }
}
