//! The user that commands run as.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{User, getgrouplist};
use runvoy_task::RunAs;

/// A user, and the variables that tell commands who they are.
pub(super) struct Account {
    pub(super) run_as: RunAs,
    pub(super) env: BTreeMap<String, String>,
}

/// Looks a user up by name.
pub(super) fn resolve(name: &str) -> io::Result<Account> {
    let user =
        User::from_name(name)?.ok_or_else(|| io::Error::other(format!("there is no user {name:?}")))?;
    let groups = getgrouplist(&CString::new(name)?, user.gid)?;
    let run_as = RunAs {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    };
    let env = [
        ("HOME", user.dir.to_string_lossy().into_owned()),
        ("SHELL", user.shell.to_string_lossy().into_owned()),
        ("USER", user.name.clone()),
        ("LOGNAME", user.name),
    ];
    Ok(Account { run_as, env: env.map(|(name, value)| (name.to_owned(), value)).into() })
}

/// Refuses a directory that the user could not reach: no command of theirs could start in it.
pub(super) fn must_reach(dir: &Path, user: &RunAs) -> io::Result<()> {
    for ancestor in dir.ancestors() {
        let found = fs::metadata(ancestor)?;
        let bit = if found.uid() == user.uid {
            0o100
        } else if user.groups.contains(&found.gid()) {
            0o010
        } else {
            0o001
        };
        if user.uid != 0 && found.mode() & bit == 0 {
            let (uid, path) = (user.uid, ancestor.display());
            return Err(io::Error::other(format!(
                "user {uid} may not enter {path}; allow it with `chmod +x {path}`"
            )));
        }
    }
    Ok(())
}
