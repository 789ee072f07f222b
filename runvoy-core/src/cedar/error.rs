use std::fmt;

use cedar_policy::ffi::DetailedError;

/// Why a policy file was refused: the first thing wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct PolicyError {
    /// The file, as it was named to the authorizer.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

impl PolicyError {
    pub(super) fn new(file: &str, line: usize, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line, reason: reason.to_string() }
    }

    /// From the engine's error about `text`; at `line` where it names no place.
    pub(super) fn engine(file: &str, text: &str, line: usize, error: &DetailedError) -> Self {
        let label = error.source_locations.first();
        let line = label.map_or(line, |label| line_at(text, label.loc.start));
        let mut reason = error.message.clone();
        for more in [label.and_then(|label| label.label.as_ref()), error.help.as_ref()].into_iter().flatten()
        {
            reason.push_str("; ");
            reason.push_str(more);
        }
        Self { file: file.to_owned(), line, reason }
    }
}

/// The line, from 1, of the byte at `offset`.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_at("", 0), 1);
        assert_eq!(line_at("a\nb\nc", 0), 1);
        assert_eq!(line_at("a\nb\nc", 2), 2);
        assert_eq!(line_at("a\nb\nc", 99), 3);
    }
}
