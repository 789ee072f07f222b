//! The user that commands run as.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{User, getgrouplist};
use runvoy_task::RunAs;

/// Looks a user up by name.
pub(super) fn resolve(name: &str) -> io::Result<RunAs> {
    let user =
        User::from_name(name)?.ok_or_else(|| io::Error::other(format!("there is no user {name:?}")))?;
    let groups = getgrouplist(&CString::new(name)?, user.gid)?;
    Ok(RunAs {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    })
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
            return Err(io::Error::other(format!("user {uid} may not enter {path}; allow it (chmod +x)")));
        }
    }
    Ok(())
}
