//! Keeps secret values out of the log.
//!
//! Every byte that belongs to an occurrence of a secret, in any of its [`forms`], is replaced; each run of
//! overlapping occurrences becomes one `***`. That holds over the bytes of a stream, so however they were written
//! and read, and wherever lines end.

mod finder;
mod forms;
mod skim;
mod stream;
mod unbroken;

use std::rc::Rc;

use aho_corasick::BuildError;

use finder::Finder;
use skim::Skim;
pub(crate) use stream::Masker;

/// What stands in the log for a secret.
const REPLACEMENT: &[u8] = b"***";

/// The compiled forms of all secrets, shared by both streams.
pub(crate) struct Patterns {
    finders: Option<Rc<Finders>>,
    left_out: bool,
}

struct Finders {
    /// Looks at the stream as it is.
    plain: Finder,
    /// Looks at the stream without its line breaks.
    base64: Finder,
    /// Spares most of what is written the search for either.
    skim: Option<Skim>,
}

impl Patterns {
    /// Compiles the forms of the secrets.
    pub(crate) fn new(secrets: &[String]) -> Result<Self, BuildError> {
        let forms = forms::of_all(secrets);
        let left_out = secrets.iter().any(|secret| forms::is_too_short(secret));
        if forms.plain.is_empty() {
            return Ok(Self { finders: None, left_out });
        }
        let (plain, base64) = (Finder::new(forms.plain)?, Finder::new(forms.base64)?);
        let skim = Skim::new(&plain, &base64);
        Ok(Self { finders: Some(Rc::new(Finders { plain, base64, skim })), left_out })
    }

    /// Whether a secret was too short to be masked.
    pub(crate) fn left_out(&self) -> bool {
        self.left_out
    }

    /// Masks a text that is whole.
    pub(crate) fn mask(&self, text: &str) -> String {
        match self.masker() {
            Some(mut masker) => String::from_utf8_lossy(masker.process(text.as_bytes(), true).0).into_owned(),
            None => text.to_owned(),
        }
    }

    /// A masker for one stream; `None` if there is nothing to mask.
    pub(crate) fn masker(&self) -> Option<Masker> {
        self.finders.as_ref().map(|finders| Masker::new(Rc::clone(finders)))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
