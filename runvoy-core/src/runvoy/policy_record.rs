//! Which policies came in force, in the audit log.

use sha2::{Digest as _, Sha256};

use super::{Error, Runvoy};
use crate::audit::hex;
use crate::port::Resource;

/// How policies come in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// The server started with them.
    Load,
    /// They take the place of others.
    Reload,
}

impl PolicyChange {
    const fn action(self) -> &'static str {
        match self {
            Self::Load => "load_policies",
            Self::Reload => "reload_policies",
        }
    }
}

impl Runvoy {
    /// Records, by the system itself, that these files of policies are about to be put in force: their names, and what
    /// `sha256sum *.cedar | sha256sum` says of them. Pairs of name and text, in the order of their names.
    pub async fn record_policies(&self, change: PolicyChange, files: &[(&str, &str)]) -> Result<(), Error> {
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let names = if names.is_empty() { "no files".to_owned() } else { names.join(", ") };
        let detail = format!("{names}; sha256 {}", digest(files));
        self.append(self.system_event(change.action(), Resource::System, detail)).await
    }
}

fn digest(files: &[(&str, &str)]) -> String {
    let mut all = Sha256::new();
    for (name, text) in files {
        all.update(format!("{}  {name}\n", hex(&Sha256::digest(text))));
    }
    hex(&all.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_sha256sum_says() {
        // printf 'permit' >a.cedar; printf 'forbid\n' >b.cedar; sha256sum *.cedar | sha256sum
        let files = [("a.cedar", "permit"), ("b.cedar", "forbid\n")];
        assert_eq!(digest(&files), "0b6d28856bcac85bad9aacf9075f1cc99ced327db204d21afe6076569fb528ec");
    }
}
