//! The file `.env`: the caller's variables, for programs that look for them there.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use runvoy_task::TaskSpec;

/// There is one, or none may be.
const NOT_THERE: [io::ErrorKind; 3] =
    [io::ErrorKind::AlreadyExists, io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];

/// Writes the file into the current directory, unless there is one or no variable asks for it. A directory of an image's may
/// be nobody's to write to: the command has its variables all the same.
pub(crate) fn write(spec: &TaskSpec) -> io::Result<()> {
    let chosen = spec.env.iter().filter(|(name, _)| spec.dotenv.contains(*name));
    let chosen: BTreeMap<&str, &str> = chosen.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(".env") {
        Ok(mut file) => file.write_all(text(&chosen).as_bytes()),
        Err(error) if NOT_THERE.contains(&error.kind()) => Ok(()),
        Err(error) => Err(error),
    }
}

fn text(variables: &BTreeMap<&str, &str>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        text.extend([*name, "=", &quoted(value), "\n"]);
    }
    text
}

/// So that shells and the common readers of such files agree on the value.
fn quoted(value: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./:@%+,=".contains(char);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut out = String::from("\"");
    for char in value.chars() {
        if matches!(char, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_only_where_they_must_be() {
        let variables = BTreeMap::from([
            ("A", "plain-1.2/x"),
            ("B", ""),
            ("C", "two words $HOME"),
            ("D", "it's \"$5\""),
            ("E", "one\ntwo"),
        ]);
        assert_eq!(
            text(&variables),
            "A=plain-1.2/x\nB=\nC='two words $HOME'\nD=\"it's \\\"\\$5\\\"\"\nE='one\ntwo'\n"
        );
    }
}
