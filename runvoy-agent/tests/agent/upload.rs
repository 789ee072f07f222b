//! Uploaded code through the whole agent.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use runvoy_task::{EndReason, UploadWorkspace, Workspace};
use sha2::{Digest as _, Sha256};

use crate::log::Tmpfs;
use crate::task::{Task, root};

/// A `.tar.gz` of files, with permissions.
fn archive(files: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, text, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn task(command: &str, archive: &[u8]) -> Task {
    let task = Task::shell(command);
    let path = task.root().join("archive");
    fs::File::create(&path).unwrap().write_all(archive).unwrap();
    let sha256 = Sha256::digest(archive).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let upload = UploadWorkspace { archive: path, sha256, size: archive.len() as u64 };
    task.with(|spec| spec.workspace = Some(Workspace::Upload(upload)))
}

#[test]
fn uploaded_code_is_where_the_command_starts() {
    let deep = format!("{}/deep.txt", "d".repeat(180));
    let archive = archive(&[("run.sh", "#!/bin/sh\ncat */deep.txt\n", 0o755), (&deep, "deep\n", 0o644)]);
    let (end, log) = task("./run.sh", &archive).run();
    assert_eq!((end.exit_code, log.stdout()), (Some(0), "deep\n".to_owned()), "{end:?}");
    assert_eq!(end.commit, None);
    let phases: Vec<_> = end.phases.iter().map(|phase| phase.phase.as_str()).collect();
    assert_eq!(phases, ["prepare", "workspace", "command"]);
}

#[test]
fn an_unprivileged_command_owns_code_that_it_could_not_have_read_itself() {
    use std::os::unix::fs::PermissionsExt as _;

    if !root() {
        return;
    }
    let task = task("cat f; echo more >> f; tail -n 1 f", &archive(&[("f", "text\n", 0o644)])).unprivileged();
    fs::set_permissions(task.root().join("archive"), fs::Permissions::from_mode(0o600)).unwrap();
    let (end, log) = task.run();
    assert_eq!((end.exit_code, log.stdout()), (Some(0), "text\nmore\n".to_owned()), "{end:?}");
}

#[test]
fn what_cannot_be_unpacked_is_told_and_nothing_is_left() {
    let good = archive(&[("a", "text", 0o644), ("b", "text", 0o644)]);
    let escaping = {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "way", "../..").unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    };
    let mut other = task("echo ran", &good);
    let mut gone = task("echo ran", &good);
    for (task, change) in [(&mut other, true), (&mut gone, false)] {
        let Some(Workspace::Upload(upload)) = &mut task.spec.workspace else { panic!() };
        if change {
            upload.sha256 = "0".repeat(64);
        } else {
            fs::remove_file(&upload.archive).unwrap();
        }
    }
    for (task, words) in [
        (other, "damaged"),
        (gone, "upload it again"),
        (task("echo ran", &escaping), "`way`, a symbolic link that leads out"),
        (task("echo ran", b"text"), "no readable .tar.gz"),
    ] {
        let (end, log) = task.run();
        assert_eq!((end.exit_code, end.reason), (None, EndReason::WorkspaceFailed), "{end:?}");
        let sentence = end.message.clone().unwrap();
        assert!(sentence.contains(words), "{sentence}");
        assert_eq!(log.stderr(), format!("runvoy: {sentence}\n"));
        assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0);
        log.assert_agrees(&end);
    }
}

#[test]
fn a_disk_that_gets_full_while_code_is_unpacked_is_told() {
    let archive = archive(&[("small", "text", 0o644), ("large", &"x".repeat(3_000_000), 0o644)]);
    let task = task("echo ran", &archive);
    let Some(_tmpfs) = Tmpfs::mount(&task.spec.workdir) else { return };
    let (end, log) = task.run();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::WorkspaceFailed), "{end:?}");
    let sentence = end.message.clone().unwrap();
    assert!(sentence.contains("disk is full"), "{sentence}");
    assert_eq!(log.stderr(), format!("runvoy: {sentence}\n"));
    assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0, "what was unpacked gives its room back");
}
