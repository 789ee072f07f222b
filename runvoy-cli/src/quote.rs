//! From the words of our own command line to a command.

use runvoy_core::api::Command;

use crate::error::{CliError, Kind};

/// One word is a line for the shell as it is; several are quoted back into one line.
pub(crate) fn shell(words: &[String]) -> Result<Command, CliError> {
    match words {
        [line] => Ok(Command::Shell(line.clone())),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map(Command::Shell)
            .map_err(|e| CliError::new(Kind::Usage, "the command cannot hold a NUL character").because(e)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        match shell(&words).unwrap() {
            Command::Shell(line) => line,
            Command::Args(_) => panic!("a line"),
        }
    }

    #[test]
    fn one_word_is_the_shells_and_several_are_kept_apart() {
        assert_eq!(line(&["a | b"]), "a | b");
        assert_eq!(line(&["echo", "a b"]), "echo 'a b'");
        assert_eq!(line(&["echo", "$HOME", "it's"]), r#"echo '$HOME' "it's""#);
        assert_eq!(line(&["ls", ""]), "ls ''");
        assert!(shell(&["a".into(), "b\0c".into()]).is_err());
    }

    proptest! {
        #[test]
        fn the_line_splits_back_into_the_words(words in prop::collection::vec("[^\0]{0,8}", 2..6)) {
            let borrowed: Vec<_> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(shlex::split(&line(&borrowed)), Some(words));
        }
    }
}
