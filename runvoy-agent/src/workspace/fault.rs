//! Why there is no workspace, in words.

use std::io;

/// Bytes of a sentence at most. It may repeat what a server says, which has any length.
const LONGEST: usize = 1024;

/// One sentence for the end record, what happened and what to do about it; and what the other side said, for the log.
#[derive(Debug)]
pub(crate) struct Fault {
    /// For people: of bounded length, without control characters. Names no secret.
    pub(crate) sentence: String,
    /// Lines.
    pub(crate) said: Vec<String>,
}

impl Fault {
    /// A fault that needs no further words.
    pub(crate) fn new(sentence: impl AsRef<str>) -> Self {
        Self { sentence: told(sentence.as_ref()), said: Vec::new() }
    }

    /// Adds to what was said.
    pub(crate) fn saying(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.said.extend(lines);
        self
    }

    /// Something could not be written into the workspace.
    pub(crate) fn writing(what: &str, error: &io::Error) -> Self {
        if is_full(error) {
            return Self::full();
        }
        Self::new(format!("{what} could not be written into the workspace: {error}"))
    }

    /// There is no room for the workspace.
    pub(crate) fn full() -> Self {
        Self::new(
            "the disk is full: the workspace does not fit on it; free space on the machine, or fetch less",
        )
    }
}

/// A sentence that drives no terminal and has an end. It is cut between words: half a secret would not be masked.
fn told(sentence: &str) -> String {
    let shown = |char: char| match char {
        char if char.is_control() && char.is_whitespace() => ' ',
        char if char.is_control() => '?',
        char => char,
    };
    let sentence: String = sentence.chars().map(shown).collect();
    if sentence.len() <= LONGEST {
        return sentence;
    }
    let front = sentence.get(..sentence.floor_char_boundary(LONGEST - " …".len())).unwrap_or_default();
    format!("{} …", front.rsplit_once(' ').map_or("", |(words, _)| words))
}

/// Whether the disk, or the user's share of it, has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_drives_no_terminal_and_is_cut_between_words() {
        assert_eq!(Fault::new("one\ntwo\u{1b}[31m\u{7}").sentence, "one two?[31m?");
        let most = "é".repeat(LONGEST / 2);
        assert_eq!(Fault::new(&most).sentence, most);
        let cut = Fault::new(format!("the server says {} token", "é ".repeat(LONGEST))).sentence;
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 8 && cut.ends_with("é …"), "{cut}");
        assert_eq!(Fault::new(format!("it says {}", "x".repeat(LONGEST))).sentence, "it says …");
    }
}
