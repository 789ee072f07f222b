//! What is wrong with the arguments, in one sentence like every other failure.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::Cli;
use crate::error::{CliError, Kind};

/// The sentence, and whose `--help` shows more.
pub(crate) fn failure(error: &clap::Error, args: impl Iterator<Item = OsString>) -> CliError {
    if error.kind() == ErrorKind::InvalidSubcommand {
        let name = one(error, ContextKind::InvalidSubcommand);
        if TO_COME.contains(&name.as_str()) {
            let what = format!("`{name}` is not there yet");
            return CliError::new(Kind::Usage, what).hint("`runvoy --help` shows what is");
        }
        return unknown_command(error, &name, args);
    }
    let help = format!("`{} --help` shows how", command(args));
    let hint = match suggestion(error) {
        Some(meant) => format!("did you mean `{meant}`? {help}"),
        None => help,
    };
    CliError::new(Kind::Usage, what(error)).hint(hint)
}

/// Commands that are promised and missing.
const TO_COME: [&str; 2] = ["infra", "share"];

fn unknown_command(error: &clap::Error, name: &str, args: impl Iterator<Item = OsString>) -> CliError {
    // What follows it is nobody's.
    let help = command(args.take_while(|word| word != name));
    let meant = suggestion(error).map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    let hint = format!("{meant}`{help} --help` shows how");
    CliError::new(Kind::Usage, format!("there is no command `{name}`")).hint(hint)
}

fn what(error: &clap::Error) -> String {
    let arg = || one(error, ContextKind::InvalidArg);
    let value = || one(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if arg().starts_with('-') => format!("there is no option `{}`", arg()),
        ErrorKind::UnknownArgument => format!("`{}` is one argument too many", arg()),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", all(error, ContextKind::InvalidArg)),
        ErrorKind::InvalidValue if value().is_empty() => format!("`{}` wants a value", arg()),
        ErrorKind::InvalidValue => {
            let valid = all(error, ContextKind::ValidValue);
            format!("`{}` takes {valid}, and not `{}`", arg(), value())
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(|why| format!(": {}", in_words(why))).unwrap_or_default();
            format!("`{}` cannot be `{}`{why}", arg(), value())
        }
        ErrorKind::ArgumentConflict => {
            let other = all(error, ContextKind::PriorArg);
            if other == format!("`{}`", arg()) {
                format!("`{}` is given more than once", arg())
            } else {
                format!("`{}` does not go together with {other}", arg())
            }
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

/// Why a value is wrong; the standard library's words for a number are for programmers.
fn in_words(why: &(dyn std::error::Error + 'static)) -> String {
    match why.downcast_ref().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "it is too large".to_owned(),
        Some(_) => "it is a whole number".to_owned(),
        None => why.to_string(),
    }
}

/// Options that come before any command and take the next word.
const GLOBAL_WITH_VALUE: [&str; 2] = ["--profile", "--color"];

/// The command whose arguments they are, as far as they name one.
fn command(args: impl Iterator<Item = OsString>) -> String {
    let mut at = Cli::command();
    let mut name = at.get_name().to_owned();
    let mut is_value = false;
    for word in args.skip(1) {
        let is_skipped = std::mem::replace(&mut is_value, GLOBAL_WITH_VALUE.iter().any(|name| word == *name));
        if is_skipped {
            continue;
        }
        let below = at.find_subcommand(word.as_os_str()).cloned();
        match below {
            Some(below) => {
                name = format!("{name} {}", below.get_name());
                at = below;
            }
            None if !at.has_subcommands() => break,
            None => {}
        }
    }
    name
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let found = kinds.into_iter().flat_map(|kind| every(error, kind)).next();
    found.filter(|meant| !meant.is_empty())
}

fn one(error: &clap::Error, kind: ContextKind) -> String {
    every(error, kind).into_iter().next().unwrap_or_default()
}

fn all(error: &clap::Error, kind: ContextKind) -> String {
    let quoted: Vec<_> = every(error, kind).iter().map(|text| format!("`{text}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => "something".to_owned(),
    }
}

fn every(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        Some(ContextValue::StyledStrs(texts)) => texts.iter().map(ToString::to_string).collect(),
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(args: &[&str]) -> String {
        let args = [&["runvoy"], args].concat();
        let error = Cli::try_parse_from(&args).unwrap_err();
        failure(&error, args.iter().map(OsString::from)).to_string()
    }

    #[test]
    fn a_mistake_is_one_sentence_that_says_what_to_do() {
        let cases: &[(&[&str], &str)] = &[
            (&["statu"], "there is no command `statu`; did you mean `status`? `runvoy --help` shows how"),
            (&["infra", "status"], "`infra` is not there yet; `runvoy --help` shows what is"),
            (&["nothing", "list"], "there is no command `nothing`; `runvoy --help` shows how"),
            (
                &["users", "lst"],
                "there is no command `lst`; did you mean `list`? `runvoy users --help` shows how",
            ),
            (&["status"], "`<ID>` is missing; `runvoy status --help` shows how"),
            (
                &["users", "create", "a@b.c"],
                "`--role <ROLE>` is missing; `runvoy users create --help` shows how",
            ),
            (
                &["list", "--limt", "3"],
                "there is no option `--limt`; did you mean `--limit`? `runvoy list --help` shows how",
            ),
            (&["status", "abcdef", "x"], "`x` is one argument too many; `runvoy status --help` shows how"),
            (&["list", "--limit"], "`--limit <N>` wants a value; `runvoy list --help` shows how"),
            (
                &["list", "--limit", "1001"],
                "`--limit <N>` cannot be `1001`: it is 1 to 1000, and `--all` shows every one; `runvoy list --help` shows how",
            ),
            (
                &["list", "-o", "jso"],
                "`--output <FORMAT>` takes `table` or `json`, and not `jso`; did you mean `json`? `runvoy list --help` shows how",
            ),
            (
                &["users", "create", "a@b.c", "--role", "boss"],
                "`--role <ROLE>` cannot be `boss`: a role is `admin`, `operator`, `developer` or `viewer`; \
                 `runvoy users create --help` shows how",
            ),
            (
                &["list", "--all", "--limit", "3"],
                "`--all` does not go together with `--limit <N>`; `runvoy list --help` shows how",
            ),
            (
                &["--profile", "status", "list", "--bogus"],
                "there is no option `--bogus`; `runvoy list --help` shows how",
            ),
            (
                &["run", "--timeout", "-1s", "true"],
                "`--timeout <DURATION>` cannot be `-1s`: `-1s` is no length of time: write `90s`, `10m`, `1h30m` or \
                 `2d`; `runvoy run --help` shows how",
            ),
            (
                &["run", "--memory", "abc", "true"],
                "`--memory <MIB>` cannot be `abc`: it is a whole number; `runvoy run --help` shows how",
            ),
            (
                &["run", "--cpu", "99999999999999999999", "true"],
                "`--cpu <UNITS>` cannot be `99999999999999999999`: it is too large; `runvoy run --help` shows how",
            ),
            (&["run", "-g", "", "true"], "`--git-repo <URL>` wants a value; `runvoy run --help` shows how"),
            (
                &["run", "--git-ref=", "true"],
                "`--git-ref <REF>` wants a value; `runvoy run --help` shows how",
            ),
            (&["run", "-p", "", "true"], "`--git-path <PATH>` wants a value; `runvoy run --help` shows how"),
            (&["run", "-i", "", "true"], "`--image <IMAGE>` wants a value; `runvoy run --help` shows how"),
            (
                &["run", "--git-token-secret", "", "true"],
                "`--git-token-secret <NAME>` cannot be ``: a secret's name is 1 to 128 of A-Z a-z 0-9 . _ -; \
                 `runvoy run --help` shows how",
            ),
            (&["list", "--all", "--all"], "`--all` is given more than once; `runvoy list --help` shows how"),
        ];
        for (args, want) in cases {
            assert_eq!(said(args), *want, "{args:?}");
        }
    }
}
