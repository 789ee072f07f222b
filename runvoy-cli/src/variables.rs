//! The variables of a run. Later wins: the playbook's, `--env-file`, `RUNVOY_USER_*`, `-e`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::env_vars::USER_PREFIX;
use crate::error::{CliError, Kind};

/// The caller's environment: what `std::env::vars_os` gives, or a test.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Puts a run's variables together, over those that a playbook gives.
pub(crate) fn collect(
    mut variables: BTreeMap<String, String>,
    files: &[PathBuf],
    given: &[String],
    environment: &Environment,
) -> Result<BTreeMap<String, String>, CliError> {
    for path in files {
        read_file(path, environment, &mut variables)?;
    }
    for (name, value) in environment {
        let name = name.to_str().and_then(|name| name.strip_prefix(USER_PREFIX));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            variables.insert(name.to_owned(), text(&format!("{USER_PREFIX}{name}"), value)?);
        }
    }
    for item in given {
        let (name, value) = pair(item, environment)?;
        let value = value.ok_or_else(|| {
            let what = format!("`-e {item}` copies a variable that is not set here");
            CliError::new(Kind::Usage, what).hint(format!("write `-e {item}=VALUE`"))
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Reads a file of `NAME=VALUE` lines as `docker run --env-file` does: `#` begins a comment line, nothing is
/// unquoted, a bare `NAME` copies the caller's variable where there is one.
fn read_file(
    path: &Path,
    environment: &Environment,
    variables: &mut BTreeMap<String, String>,
) -> Result<(), CliError> {
    let wrong = |what: String| CliError::new(Kind::Usage, format!("`{}` {what}", path.display()));
    let content = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    for (number, line) in content.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) =
            pair(line, environment).map_err(|e| wrong(format!("line {}: {e}", number + 1)))?;
        if name.contains(char::is_whitespace) {
            return Err(wrong(format!("line {}: a name has no blanks", number + 1)));
        }
        variables.extend(value.map(|value| (name, value)));
    }
    Ok(())
}

/// `NAME=VALUE`, or `NAME` with the caller's value if there is one.
fn pair(item: &str, environment: &Environment) -> Result<(String, Option<String>), CliError> {
    let (name, value) = if let Some((name, value)) = item.split_once('=') {
        (name, Some(value.to_owned()))
    } else {
        let value = environment.get(&OsString::from(item));
        (item, value.map(|value| text(item, value)).transpose()?)
    };
    if name.is_empty() {
        return Err(
            CliError::new(Kind::Usage, format!("`{item}` names no variable")).hint("write `NAME=VALUE`")
        );
    }
    Ok((name.to_owned(), value))
}

fn text(name: &str, value: &OsString) -> Result<String, CliError> {
    let value = value.to_str().map(str::to_owned);
    value.ok_or_else(|| CliError::new(Kind::Usage, format!("the value of `{name}` is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn later_sources_win() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vars");
        std::fs::write(&file, "\u{feff}# comment\n\nA=file\r\nB=file\n  C=\"kept\"\nHOME\nMISSING\nD=x=y\n")
            .unwrap();
        let environment = environment(&[
            ("RUNVOY_USER_A", "user"),
            ("RUNVOY_USER_B", "user"),
            ("RUNVOY_USER_", "nobody"),
            ("HOME", "/home/me"),
            ("COPIED", "yes"),
        ]);
        let playbook = [("A", "playbook"), ("D", "playbook"), ("F", "playbook")];
        let playbook = playbook.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let given = ["B=flag".into(), "COPIED".into(), "E=".into()];
        let got = collect(playbook, &[file], &given, &environment).unwrap();
        let want = [
            ("A", "user"),
            ("B", "flag"),
            ("C", "\"kept\""),
            ("COPIED", "yes"),
            ("D", "x=y"),
            ("E", ""),
            ("F", "playbook"),
            ("HOME", "/home/me"),
        ];
        assert_eq!(got, want.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
    }

    #[test]
    fn mistakes_are_named() {
        let empty = Environment::new();
        let error = collect(BTreeMap::new(), &[], &["NOPE".into()], &empty).unwrap_err();
        assert!(error.to_string().contains("write `-e NOPE=VALUE`"), "{error}");
        assert!(collect(BTreeMap::new(), &[], &["=x".into()], &empty).is_err());
        let error = collect(BTreeMap::new(), &["/nowhere".into()], &[], &empty).unwrap_err();
        assert!(error.to_string().starts_with("`/nowhere` cannot be read"), "{error}");
    }
}
