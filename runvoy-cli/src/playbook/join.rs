//! One line for the shell from the commands of a playbook.

/// Joins commands with ` && `, each as if it stood alone: it runs if the one before it succeeded, in the same shell.
///
/// Plain commands stand there as they are. If one could reach beyond its end, or beyond its beginning (a comment, `;`,
/// `||`, `&`, a backslash at the end, several lines, an open quote), each has a line of its own, after which it is looked
/// whether it succeeded; and such a one is handed to `eval` as one word: whatever is in it, it is read by itself. There
/// is no ` && ` then, since a shell that was told `set -e` forgets it in whatever stands before one.
pub(super) fn join(commands: &[String]) -> String {
    let each: Vec<_> = commands.iter().map(|command| command.trim_end_matches('\n')).collect();
    match each.as_slice() {
        [alone] => (*alone).to_owned(),
        plain if plain.iter().all(|it| is_plain(it)) => {
            plain.iter().map(|it| it.trim_end()).collect::<Vec<_>>().join(" && ")
        }
        mixed => {
            let line = |it: &&str| if is_plain(it) { (*it).to_owned() } else { evaluated(it) };
            mixed.iter().map(line).collect::<Vec<_>>().join(OR_EXIT)
        }
    }
}

/// Between two lines: the second is reached only if the first succeeded.
const OR_EXIT: &str = "\ncase $? in 0) ;; *) exit $? ;; esac\n";

fn evaluated(command: &str) -> String {
    format!("eval '{}'", command.replace('\'', r"'\''"))
}

/// Whether `a && COMMAND && b` is surely read as three. May say no too often: then it is evaluated, to the same effect.
fn is_plain(command: &str) -> bool {
    let mut chars = command.chars().peekable();
    let mut before = ' ';
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        let is_plain = match char {
            '\'' | '"' if before == '$' => false,
            '\'' => chars.by_ref().any(|char| char == '\''),
            '"' => closes(&mut chars),
            // What it escapes is plain, if it is there; but a line ends here.
            '\\' => chars.next().is_some_and(|escaped| escaped != '\n'),
            '#' | ';' | '`' | '(' | ')' | '\n' | '\r' => false,
            '|' => next != Some('|') && before != '|',
            // Of `2>&1` and `a && b`, not of `a &`.
            '&' if next == Some('&') => chars.next().is_some(),
            '&' => matches!(before, '>' | '<'),
            '<' => next != Some('<'),
            _ => true,
        };
        if !is_plain {
            return false;
        }
        before = char;
    }
    true
}

/// Takes the rest of a text in double quotes, and says whether it ends and nothing in it is a command of its own.
fn closes(chars: &mut impl Iterator<Item = char>) -> bool {
    let mut before = '"';
    while let Some(char) = chars.next() {
        match char {
            '"' => return true,
            '\\' => drop(chars.next()),
            '`' => return false,
            '(' if before == '$' => return false,
            _ => {}
        }
        before = char;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn joined(commands: &[&str]) -> String {
        join(&commands.iter().map(|&command| command.to_owned()).collect::<Vec<_>>())
    }

    /// What a shell prints for these, and whether it succeeds.
    fn run(commands: &[&str]) -> (String, bool) {
        let output = Command::new("/bin/sh").arg("-c").arg(joined(commands)).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    #[test]
    fn plain_commands_are_joined_as_they_are() {
        assert_eq!(joined(&["go vet ./...\n", "go test ./..."]), "go vet ./... && go test ./...");
        let plain = [
            "echo \"$A ${B}\" 'b # c; d' \\; e",
            "make 2>&1 | tee log >&2",
            "test -f a && cat < a",
            "A=1 B=${A} ! grep -q x[0-9]* \"it's\"",
        ];
        assert_eq!(joined(&plain), plain.join(" && "));
        assert_eq!(joined(&["a; b # c"]), "a; b # c", "nothing comes after it");
    }

    #[test]
    fn no_command_changes_what_another_means() {
        let outputs: [(&[&str], &str, bool); 19] = [
            (&["set -e", "false\necho a", "echo b"], "", false),
            (&["set -e\nfalse\necho a", "echo b"], "", false),
            (&["set -e # at once", "false", "echo b"], "", false),
            (&["set -e\necho a", "if false; then echo b; fi\necho c", "echo d"], "a\nc\nd\n", true),
            (&["echo a # a note", "echo b"], "a\nb\n", true),
            (&["# only a note", "echo b"], "b\n", true),
            (&["false", "echo a || true", "echo b"], "", false),
            (&["false || echo a", "echo b"], "a\nb\n", true),
            (&["false", "echo a; echo b"], "", false),
            (&["true; false", "echo b"], "", false),
            (&["false", "echo a\necho b\n", "echo c"], "", false),
            (&["echo a\necho b\n", "echo c"], "a\nb\nc\n", true),
            (&["echo a \\\n  b", "echo c"], "a b\nc\n", true),
            (&["false", "echo a & wait", "echo b"], "", false),
            (&["cat <<END\nit's\nEND", "echo b"], "it's\nb\n", true),
            (&["cd /; A=it\\'s", "pwd", "echo \"$A\""], "/\nit's\n", true),
            (&["echo 'open", "echo b' # c"], "", false),
            (&["echo \"$(echo \"a # b\")\"", "echo c"], "a # b\nc\n", true),
            (&["echo a", "(exit 3)", "echo b"], "a\n", false),
        ];
        for (commands, text, succeeds) in outputs {
            assert_eq!(run(commands), (text.to_owned(), succeeds), "{commands:?}: {}", joined(commands));
        }
        // What a shell makes of a backslash that nothing follows is its own; the next command is not it.
        assert!(run(&["echo a \\", "echo b"]).0.ends_with("\nb\n"));
    }
}
