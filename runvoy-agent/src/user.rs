//! Users as images name them, by the account files of the place the command runs in.
//!
//! Read here and not by the C library, whose modules an image may lack or bring in another version.

use std::fs;
use std::io;

use runvoy_task::{RunAs, TaskSpec};

/// A user and where their home is.
#[derive(Debug)]
struct Account {
    run_as: RunAs,
    home: String,
}

/// The account files of an image.
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads them.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    /// Puts numbers in the place of the user that a spec names, and `HOME` into its environment.
    ///
    /// The error is a sentence for the end record.
    pub(crate) fn settle(&self, spec: &mut TaskSpec) -> Result<(), String> {
        if let Some(user) = spec.user.take() {
            let account = look_up(&user, &self.passwd, &self.group)?;
            spec.env.entry("HOME".to_owned()).or_insert(account.home);
            spec.run_as = Some(account.run_as);
        }
        Ok(())
    }
}

/// An image without the file has no such names.
fn read(path: &str) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Looks up `NAME|UID[:GROUP|GID]`.
fn look_up(text: &str, passwd: &str, group: &str) -> Result<Account, String> {
    let (user, group_name) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let found = line_of(passwd, user);
    let (name, uid, gid, home) = match &found {
        Some(fields) => (field(fields, 0), number(fields, 2), number(fields, 3), field(fields, 5)),
        None => ("", user.parse().ok(), Some(0), "/"),
    };
    let (Some(uid), Some(gid)) = (uid, gid) else {
        return Err(format!("the image has no user `{user}`; name one that it has, or a number"));
    };
    let (gid, groups) = if group_name.is_empty() {
        (gid, memberships(group, name))
    } else {
        (gid_of(group, group_name)?, Vec::new())
    };
    let mut all = vec![gid];
    all.extend(groups.into_iter().filter(|other| *other != gid));
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(Account { run_as: RunAs { uid, gid, groups: all }, home })
}

fn gid_of(group: &str, name: &str) -> Result<u32, String> {
    let found = line_of(group, name).and_then(|fields| number(&fields, 2));
    found
        .or_else(|| name.parse().ok())
        .ok_or_else(|| format!("the image has no group `{name}`; name one that it has, or a number"))
}

/// The line of a name, else of a number.
fn line_of<'a>(file: &'a str, key: &str) -> Option<Vec<&'a str>> {
    let lines = || file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let by_name = lines().find(|fields| field(fields, 0) == key);
    let id: Option<u32> = key.parse().ok();
    by_name.or_else(|| lines().find(|fields| id.is_some() && number(fields, 2) == id))
}

fn memberships(group: &str, name: &str) -> Vec<u32> {
    let lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines
        .filter(|fields| !name.is_empty() && field(fields, 3).split(',').any(|member| member == name))
        .filter_map(|fields| number(&fields, 2))
        .collect()
}

fn field<'a>(fields: &[&'a str], at: usize) -> &'a str {
    fields.get(at).copied().unwrap_or_default()
}

fn number(fields: &[&str], at: usize) -> Option<u32> {
    field(fields, at).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv/app:/bin/false\n7:x:70:71::/:\n";
    const GROUP: &str = "root:x:0:\napps:x:1001:\nwheel:x:10:root,app\nadm:x:4:apple\n";

    fn look(text: &str) -> (u32, u32, Vec<u32>, String) {
        let Account { run_as, home } = look_up(text, PASSWD, GROUP).unwrap();
        (run_as.uid, run_as.gid, run_as.groups, home)
    }

    #[test]
    fn names_and_numbers_are_looked_up_as_an_engine_does() {
        assert_eq!(look("app"), (1000, 1001, vec![1001, 10], "/srv/app".to_owned()));
        assert_eq!(look("1000"), look("app"));
        assert_eq!(look("app:adm"), (1000, 4, vec![4], "/srv/app".to_owned()));
        assert_eq!(look("app:77"), (1000, 77, vec![77], "/srv/app".to_owned()));
        assert_eq!(look("4321"), (4321, 0, vec![0], "/".to_owned()));
        assert_eq!(look("4321:8"), (4321, 8, vec![8], "/".to_owned()));
        assert_eq!(look("7").0, 70, "a name goes before a number");
        assert_eq!(look(""), (0, 0, vec![0, 10], "/root".to_owned()));
        assert_eq!(look(":apps"), (0, 1001, vec![1001], "/root".to_owned()));
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(look_up("nobody", PASSWD, GROUP).unwrap_err().contains("`nobody`"));
        assert!(look_up("app:none", PASSWD, GROUP).unwrap_err().contains("`none`"));
        assert_eq!(look_up("0", "", "").unwrap().home, "/");
    }
}
