//! Repositories to be served, made by the real git.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory of bare repositories, each beside the one it was made from.
pub(crate) struct Repositories {
    dir: tempfile::TempDir,
}

impl Repositories {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// What the server serves.
    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A repository of one commit, served as `NAME.git`.
    pub(crate) fn create(&self, name: &str, files: &[(&str, &str)]) -> Repository {
        let bare = self.root().join(format!("{name}.git"));
        let source = self.root().join(format!("{name}.source"));
        fs::create_dir(&source).unwrap();
        let repository = Repository { source, bare };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write(files);
        repository.commit("first");
        let (source, bare) = (repository.source.to_str().unwrap(), repository.bare.to_str().unwrap());
        repository.git(&["clone", "--quiet", "--bare", source, bare]);
        repository.git(&["remote", "add", "origin", bare]);
        repository
    }
}

pub(crate) struct Repository {
    source: PathBuf,
    bare: PathBuf,
}

impl Repository {
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_with(args, b"")
    }

    /// Runs git with something on its standard input; answers what it says.
    pub(crate) fn git_with(&self, args: &[&str], input: &[u8]) -> String {
        let mut child =
            git(&self.source).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(target) = text.strip_prefix("-> ") {
                symlink(target, path).unwrap();
                continue;
            }
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Commits everything; answers the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Sends a commit to the served repository under a full name.
    pub(crate) fn publish(&self, commit: &str, name: &str) {
        self.git(&["push", "--quiet", "--force", "origin", &format!("{commit}:{name}")]);
    }

    /// Takes a name away from the served repository, and leaves its objects there.
    pub(crate) fn hide(&self, name: &str) {
        self.git(&["push", "--quiet", "origin", &format!(":{name}")]);
    }

    /// Stores a tree exactly as given, whatever git thinks of it: mode, name, object.
    pub(crate) fn raw_tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, object) in entries {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            let digit = |at: usize| u8::from_str_radix(&object[at..at + 2], 16).unwrap();
            tree.extend((0..object.len()).step_by(2).map(digit));
        }
        self.git_with(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &tree)
    }

    pub(crate) fn blob(&self, text: &str) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes())
    }
}

/// The real git, with nobody's configuration.
pub(crate) fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "tester").env(format!("GIT_{who}_EMAIL"), "tester@example.com");
    }
    git
}
