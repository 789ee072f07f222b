//! A command that ends by itself.

use std::fs;
use std::process::Command;

use runvoy_task::EndReason;
use runvoy_task::block::Stream;

use crate::task::{Task, namespaces, root};

#[test]
fn the_exit_code_is_the_commands_own() {
    for (command, code, signal) in [
        ("exit 0", 0, None),
        ("exit 7", 7, None),
        ("exit 255", 255, None),
        ("nosuchcommand", 127, None),
        ("/etc/passwd", 126, None),
        ("kill -9 $$", 137, Some(9)),
        ("kill -TERM $$", 143, Some(15)),
    ] {
        let task = Task::shell(command);
        let (end, log) = task.run();
        assert_eq!(
            (end.exit_code, end.signal, end.reason),
            (Some(code), signal, EndReason::Exited),
            "{command}"
        );
        log.assert_agrees(&end);
        assert!(end.finished_at_ms >= end.started_at_ms);
        assert_eq!(end.phases.iter().map(|p| p.phase.as_str()).collect::<Vec<_>>(), ["prepare", "command"]);
    }
}

#[test]
fn an_argument_vector_runs_without_a_shell() {
    let (end, log) = Task::args(&["printf", "%s|", "a b", "$HOME", "'", ""]).run();
    assert_eq!(end.exit_code, Some(0));
    assert_eq!(log.stdout(), "a b|$HOME|'||");
}

#[test]
fn a_program_that_cannot_run_is_told_as_by_a_shell() {
    let (end, log) = Task::args(&["nosuchprogram", "x"]).run();
    assert_eq!((end.exit_code, end.reason), (Some(127), EndReason::Exited));
    assert_eq!(log.stderr(), "runvoy: nosuchprogram: not found\n");
    let (end, log) = Task::args(&["/etc/passwd"]).run();
    assert_eq!((end.exit_code, end.reason), (Some(126), EndReason::Exited));
    assert_eq!(log.stderr(), "runvoy: /etc/passwd: not executable\n");
}

#[test]
fn a_command_that_never_ran_has_no_exit_code() {
    let task = Task::shell("true").with(|spec| spec.workdir = "/nonexistent".into());
    let (end, log) = task.run();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::StartFailed));
    assert!(end.message.as_ref().unwrap().contains("/nonexistent"), "{end:?}");
    log.assert_agrees(&end);
}

#[test]
fn the_environment_is_exactly_the_specs() {
    let task = Task::args(&["env", "-0"]).with(|spec| {
        spec.env.insert("MULTI".into(), "a\nb=c ü".into());
        spec.env.insert("EMPTY".into(), String::new());
    });
    let (_, log) = task.run();
    let mut lines: Vec<String> = log.stdout().split_terminator('\0').map(str::to_owned).collect();
    lines.sort();
    let expected: Vec<String> = task.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn the_command_finds_a_clean_place() {
    let task =
        Task::shell("pwd; cat; ls -l /proc/self/fd/0 | sed 's/.* //'; ls /proc/self/fd | tr '\\n' ' '");
    let (end, log) = task.run();
    assert_eq!(end.exit_code, Some(0));
    let work = fs::canonicalize(&task.spec.workdir).unwrap();
    // 3 is the directory that ls reads.
    assert_eq!(log.stdout(), format!("{}\n/dev/null\n0 1 2 3 ", work.display()));
    assert_eq!(log.stderr(), "");
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    // 32 and 33 belong to the C library, which lets nobody change them.
    let mine = !(3_u64 << 31);
    let (_, log) = Task::shell("grep -E '^Sig(Blk|Ign)' /proc/self/status").run();
    let masks: Vec<u64> =
        log.stdout().lines().map(|line| u64::from_str_radix(&line[8..], 16).unwrap() & mine).collect();
    assert_eq!(masks, [0, 0]);
}

#[test]
fn outputs_stay_apart() {
    let (end, log) = Task::shell("for i in 1 2 3; do echo out$i; echo err$i >&2; done").run();
    assert_eq!(log.stdout(), "out1\nout2\nout3\n");
    assert_eq!(log.stderr(), "err1\nerr2\nerr3\n");
    assert_eq!(end.events, 6);
    log.assert_agrees(&end);
}

#[test]
fn binary_output_is_stored_byte_for_byte() {
    let task = Task::shell("cat data; cat data >&2").with(|spec| spec.segment_bytes = 1 << 20);
    let mut data = vec![0_u8; 10_000_001];
    blake3::Hasher::new().finalize_xof().fill(&mut data);
    *data.last_mut().unwrap() = b'x';
    fs::write(task.work("data"), &data).unwrap();
    let (end, log) = task.run();
    assert!(log.bytes(Stream::Stdout) == data && log.bytes(Stream::Stderr) == data, "bytes differ");
    assert!(log.segments > 10);
    assert_eq!(log.torn, 0);
    log.assert_agrees(&end);
}

#[test]
fn the_command_takes_on_its_identity() {
    if !root() {
        return;
    }
    let task = Task::shell("id -u; id -g; id -G; cat /proc/self/oom_score_adj; echo x > /dev/stderr")
        .unprivileged()
        .with(|spec| spec.run_as.as_mut().unwrap().groups = vec![12, 34]);
    let (end, log) = task.run();
    assert_eq!(log.stdout(), "65534\n65534\n65534 12 34\n500\n");
    assert_eq!(log.stderr(), "x\n");
    assert_eq!(end.exit_code, Some(0));
}

#[test]
fn files_of_the_agent_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let task = Task::shell("echo x");
    task.run();
    let mode = |name: &str| fs::metadata(task.dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["gate", "end.json", "log"].map(mode), [0o600, 0o600, 0o700]);
    for entry in fs::read_dir(task.dir.join("log")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut names: Vec<_> =
        fs::read_dir(&task.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["end.json", "gate", "log"]);
}

#[test]
fn a_namespace_shows_its_own_processes() {
    if !namespaces() {
        return;
    }
    let task = Task::shell("echo $$; readlink /proc/self/ns/pid; echo $PPID; cat /proc/$$/comm");
    let (end, log) = task.run();
    assert!(end.pid_namespace);
    let shown = log.stdout();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() < 10, "{lines:?}");
    assert_eq!((lines[2], lines[3]), ("1", "sh"));
    assert_ne!(lines[1], fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap());
}

#[test]
fn the_version_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_runvoy-agent")).arg("--version").output().unwrap();
    assert_eq!(output.stdout, format!("runvoy-agent {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}
