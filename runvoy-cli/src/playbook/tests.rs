use std::fmt::Write as _;
use std::path::Path;

use runvoy_core::api::RunRequest;

use super::keys::KEYS;
use super::*;

const WHOLE: &str = "\
description: nightly check
image: golang:1.25
git_repo: https://example.test/a.git
git_ref: main
git_path: svc
git_token_secret: forge
secrets: [gh]
env: {CI: 1, VERSION: 1.10, EMPTY: }
commands:
  - go vet ./...
  - |
    go test ./...
lock: ci/nightly
on_lock_held: queue
timeout: 1h30m
";

fn fault(text: &str) -> (Option<usize>, String) {
    let fault = Playbook::parse(text).unwrap_err();
    (fault.line, fault.what)
}

#[test]
fn a_playbook_is_sent_as_the_api_names_it() {
    let env = [("CI", "1"), ("EMPTY", ""), ("VERSION", "1.10")];
    let want = RunRequest {
        image: Some("golang:1.25".into()),
        git_repo: Some("https://example.test/a.git".into()),
        git_ref: Some("main".into()),
        git_path: Some("svc".into()),
        git_token_secret: Some("forge".into()),
        secrets: vec!["gh".into()],
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        lock: Some("ci/nightly".into()),
        on_lock_held: Some("queue".into()),
        timeout: Some(5400),
        ..RunRequest::new(Command::Shell("go vet ./... && go test ./...".into()))
    };
    assert!(Playbook::parse(WHOLE).unwrap().request() == want);
    let least = Playbook::parse("commands: [make]\nimage:\nenv:\n").unwrap();
    assert!(least.request() == RunRequest::new(Command::Shell("make".into())));
}

#[test]
fn mistakes_are_told_with_their_line() {
    let files = [
        "comands: [make]\n",
        "commands: [make]\nenvironment: {}\n",
        "commands: [make]\n\n# a comment\nrepo: x\n",
        "commands: [make]\non_lock_hold: queue\n",
        "commands: [make]\nwxyz: 1\n",
        "commands: [make]\nlock: a\nlock: b\n",
        "commands: [make]\nlock: ../a\n",
        "commands: [make]\non_lock_held: wait\n",
        "commands: [make]\ntimeout: soon\n",
        "commands: make\n",
        "commands:\n  - make\n  - [a]\n",
        "commands: [make]\nenv:\n  A: [b]\n",
        "commands: [make, ' ']\n",
        "description: nothing to do\n",
        "",
        "- a\n",
        "commands: [make\n",
    ];
    let told = files.iter().fold(String::new(), |mut out, text| {
        let (line, what) = fault(text);
        let line = line.map_or("-".to_owned(), |line| line.to_string());
        let _ = writeln!(out, "{text:?}\n    {line}: {what}");
        out
    });
    insta::assert_snapshot!("mistakes", told);
}

#[test]
fn every_key_is_one_and_no_other() {
    let text = KEYS.iter().fold(String::new(), |out, key| format!("{out}{key}: [{{}}]\n"));
    assert_eq!(keys::check(&text).map_err(|e| e.to_string()), Ok(()));
    let told = serde_yaml_ng::from_str::<Playbook>("none: 1").unwrap_err().to_string();
    let names: std::collections::BTreeSet<_> = told.split('`').skip(3).step_by(2).collect();
    assert_eq!(names, KEYS.into_iter().collect(), "{told}");
}

#[test]
fn every_key_is_documented_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/playbooks/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), KEYS);
}

#[test]
fn every_example_is_read() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/playbooks");
    let found = Places::new(&base, None).list().unwrap();
    let names: Vec<_> = found.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["check/disk", "deploy", "report"]);
    for path in found.values() {
        let playbook = Playbook::read(path).unwrap();
        assert!(playbook.description.is_some(), "{}", path.display());
    }
}

#[test]
fn what_is_here_hides_what_is_at_home() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "commands: [make]\n").unwrap();
    };
    for path in [
        "here/.runvoy/both.yml",
        "here/.runvoy/deep/er/x.yaml",
        "here/.runvoy/two.yaml",
        "here/.runvoy/two.yml",
        "here/.runvoy/config.yaml",
        "here/.runvoy/notes.txt",
        "here/.runvoy/.hidden.yaml",
        "here/.runvoy/not a name.yaml",
        "home/.runvoy/both.yaml",
        "home/.runvoy/home.yml",
        "home/.runvoy/config.yaml",
        "home/secret.yaml",
    ] {
        write(path);
    }
    let places = Places::new(&dir.path().join("here"), Some(&dir.path().join("home")));
    let found = places.list().unwrap();
    let shown = |path: &Path| path.strip_prefix(dir.path()).unwrap().display().to_string();
    let files: Vec<_> = found.iter().map(|(name, path)| (name.to_string(), shown(path))).collect();
    let want = [
        ("both", "here/.runvoy/both.yml"),
        ("deep/er/x", "here/.runvoy/deep/er/x.yaml"),
        ("home", "home/.runvoy/home.yml"),
        ("two", "here/.runvoy/two.yaml"),
    ];
    assert_eq!(files, want.map(|(name, path)| (name.to_owned(), path.to_owned())));
    for (name, path) in &found {
        assert_eq!(&places.find(name).unwrap(), path);
    }
    let missing = |name: &str| places.find(&name.parse().unwrap()).unwrap_err();
    assert_eq!(missing("bothe").to_string(), "there is no playbook `bothe`; did you mean `both`?");
    assert_eq!(
        missing("qqq").to_string(),
        "there is no playbook `qqq`; `runvoy playbook list` shows what there is"
    );
    assert!(missing("config").to_string().contains("never a playbook"));
    assert_eq!(missing("config").kind.code(), crate::exit::NOT_FOUND);
    for bad in ["../secret", "/etc/passwd", "a/../b", ""] {
        assert!(bad.parse::<runvoy_core::id::PlaybookName>().is_err(), "{bad}");
    }
}
