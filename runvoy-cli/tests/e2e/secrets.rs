//! Secrets reach the command, and nothing else.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::docker::{docker, server as docker_server};
use crate::harness::{Running, Server, runvoy, signal, stderr, stdout, until};

/// Long and nowhere else on this machine.
pub(crate) fn value() -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    format!("s3cr3t-{}", random.trim())
}

/// Runs a client that reads `input`.
fn with_input(mut client: Command, input: &str) -> Output {
    let mut child =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn create(server: &Server, name: &str, value: &str) {
    let created = with_input(server.client(&["secrets", "create", name, "TOKEN", "--value", "-"]), value);
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
}

#[test]
fn a_command_gets_its_secret_and_the_log_does_not() {
    let server = Server::start();
    let value = value();
    create(&server, "gh", &format!("{value}\n"));
    let command =
        "echo \"[$TOKEN]\"; printf %s \"$TOKEN\" | base64 >&2; printf %s \"$TOKEN\" | wc -c; echo $OTHER";
    let id = stdout(&server.run(&["run", "--detach", "--secret", "gh", "-e", "OTHER=shown", command]));
    let record = server.ended(id.trim());
    assert_eq!(
        (&record["status"], &record["log_replacements"]),
        (&"SUCCEEDED".into(), &2.into()),
        "{record}"
    );
    assert_eq!(record["secrets"], serde_json::json!([{"name": "gh", "version": 1}]));
    let log = server.run(&["logs", id.trim()]);
    assert_eq!(
        stdout(&log),
        format!("[***]\n{}\nshown\n", value.len()),
        "one newline of the input is not its"
    );
    assert_eq!(stderr(&log), "***\n");
    assert!(stdout(&server.run(&["status", id.trim()])).contains("gh (version 1)"));
    // A variable of the same name hides it, and it is masked all the same.
    let hidden = server.run(&["run", "--secret", "gh", "-e", "TOKEN=mine", &format!("echo $TOKEN {value}")]);
    assert_eq!(stdout(&hidden), "mine ***\n");
}

#[test]
fn secrets_are_kept_shown_changed_and_deleted() {
    let server = Server::start();
    let value = value();
    create(&server, "gh", &value);
    let get = |args: &[&str]| stdout(&server.run(&[&["secrets", "get", "gh"], args].concat()));
    assert!(get(&[]).contains("TOKEN") && !get(&[]).contains(&value));
    assert!(!get(&["-o", "json"]).contains(&value));
    assert!(!stdout(&server.run(&["secrets", "show", "gh"])).contains(&value));
    assert_eq!(get(&["--reveal"]), value);
    let list = server.run(&["secrets", "list"]);
    assert!(stdout(&list).contains("gh") && !stdout(&list).contains(&value), "{}", stdout(&list));
    let file = server.dir.path().join("key.pem");
    std::fs::write(&file, "-----BEGIN\nkey\n-----END\n").unwrap();
    let changed =
        server.run(&["secrets", "update", "gh", "--value-file", "key.pem", "--description", "a key"]);
    assert_eq!(stderr(&changed), "gh is changed; it has version 2\n");
    assert_eq!(get(&["--reveal"]), "-----BEGIN\nkey\n-----END\n", "byte for byte");
    // As 0.5 had it, with a word of warning.
    let old = server.run(&["secrets", "create", "old", "OLD", "on-the-command-line"]);
    assert_eq!(old.status.code(), Some(0));
    assert!(stderr(&old).contains("history"), "{}", stderr(&old));
    let cases: [(&[&str], i32, &str); 7] = [
        (&["secrets", "create", "gh", "TOKEN", "x"], 65, "runvoy secrets update gh"),
        (&["secrets", "create", "a/b", "TOKEN"], 2, "a secret's name"),
        (&["secrets", "create", "new", "TOKEN"], 2, "--value-file"),
        (&["secrets", "create", "new", "1TOKEN", "x"], 65, "key_name"),
        (&["secrets", "get", "none"], 66, "`runvoy secrets list`"),
        (&["secrets", "update", "gh", "--value-file", "none"], 2, "cannot be read"),
        (&["run", "--secret", "none", "true"], 65, "there is no secret `none`"),
    ];
    for (args, code, said) in cases {
        let output = server.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(stderr(&server.run(&["secrets", "delete", "gh"])), "gh is deleted\n");
    assert_eq!(server.run(&["secrets", "get", "gh"]).status.code(), Some(66));
}

/// Whether the terminal of a process with these arguments shows nothing of what is typed.
fn is_silent(arguments: &str) -> bool {
    let process = std::fs::read_dir("/proc").unwrap().flatten().find(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(arguments)
    });
    let Some(terminal) = process.and_then(|process| std::fs::read_link(process.path().join("fd/2")).ok())
    else {
        return false;
    };
    let settings = Command::new("stty").arg("-F").arg(terminal).arg("-a").output().unwrap();
    stdout(&settings).contains(" -echo ")
}

#[test]
fn a_value_is_asked_for_and_not_shown() {
    let server = Server::start();
    let value = value();
    let client = server.client(&[]);
    let mut command = Command::new("script");
    command.args(["-qec", "exec \"$BIN\" secrets create asked TOKEN", "/dev/null"]).env_clear();
    command.env("BIN", client.get_program());
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(client.get_current_dir().unwrap());
    command.stdin(Stdio::piped());
    let mut running = Running::spawn(command);
    running.expect("Value of asked (not shown): ");
    until("nothing that is typed is shown", || is_silent("secrets\0create\0asked"));
    let typed = format!("{value}\n");
    running.child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
    running.expect("asked is kept");
    let (code, text, _) = running.finish();
    assert_eq!(code, Some(0));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(stdout(&server.run(&["secrets", "get", "asked", "--reveal"])), value);
    assert!(!text.contains(&value), "{text}");
}

/// Where a value, or its base64, is found outside a command that has it.
pub(crate) fn leaks(server: &Server, value: &str) -> Vec<String> {
    use base64::Engine as _;

    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
    let forms = [value, &encoded[..encoded.len() - 2]];
    let has =
        |bytes: &[u8]| forms.iter().any(|form| bytes.windows(form.len()).any(|part| part == form.as_bytes()));
    let mut found = Vec::new();
    let mut dirs = vec![server.dir.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() && std::fs::read(entry.path()).is_ok_and(|bytes| has(&bytes)) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        let read = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
        if has(&read("cmdline")) {
            found.push(format!("arguments of {}", path.display()));
        }
        let environment = read("environ");
        let is_command = environment.windows(20).any(|part| part == b"RUNVOY_EXECUTION_ID=");
        if has(&environment) && !is_command {
            found.push(format!("environment of {}", path.display()));
        }
    }
    found
}

pub(crate) const NOWHERE: [String; 0] = [];

/// Long enough to be looked at, and gone when the test is over.
const LOOKS: &str = "echo \"it is $TOKEN\"; while [ ! -e stop ]; do sleep 0.05; done";

fn detach(server: &Server, more: &[&str], command: &str) -> String {
    let args = [&["run", "--detach", "--secret", "gh"], more, &["--", command]].concat();
    let output = server.run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

fn says(server: &Server, id: &str) {
    until("it has begun", || stdout(&server.run(&["logs", id])) == "it is ***\n");
}

/// Processes that have an execution's directory among their arguments.
pub(crate) fn supervisors(id: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&arguments).contains(id).then_some(pid)
    });
    processes.collect()
}

#[test]
fn no_value_is_found_while_commands_run_wait_crash_and_have_ended() {
    let mut server = Server::start();
    let value = value();
    create(&server, "gh", &value);
    assert_eq!(leaks(&server, &value), NOWHERE);
    let holder = detach(&server, &["--lock", "prod"], LOOKS);
    let waiter = detach(&server, &["--lock", "prod", "--wait"], "echo \"it is $TOKEN\"");
    let failed = detach(&server, &["--no-shell"], "no-such-program");
    says(&server, &holder);
    assert_eq!(server.ended(&failed)["status"], "FAILED");
    assert_eq!(server.record(&waiter)["status"], "QUEUED");
    assert_eq!(leaks(&server, &value), NOWHERE, "running, in line, and not started");
    server.crash();
    assert_eq!(leaks(&server, &value), NOWHERE, "after kill -9");
    server.restart();
    assert_eq!(leaks(&server, &value), NOWHERE, "after the restart");
    // Its supervisors die, as by a machine that does.
    let crashed = detach(&server, &[], LOOKS);
    says(&server, &crashed);
    for pid in supervisors(&crashed) {
        signal(pid, "KILL");
    }
    assert_eq!(server.ended(&crashed)["status_reason"], "lost");
    assert_eq!(leaks(&server, &value), NOWHERE, "after a supervisor's death");
    server.run(&["kill", &holder, "--grace", "1s"]);
    assert_eq!(server.ended(&waiter)["status"], "SUCCEEDED");
    assert_eq!(stdout(&server.run(&["logs", &waiter])), "it is ***\n");
    let audit = stdout(&server.run(&["audit", "-o", "json"]));
    assert!(audit.contains("secret:gh") && !audit.contains(&value));
    server.terminate();
    assert_eq!(leaks(&server, &value), NOWHERE, "when all is over");
}

#[test]
fn no_engine_knows_the_value_that_its_container_has() {
    let Some(server) = docker_server() else { return };
    let value = value();
    create(&server, "gh", &value);
    let id = detach(&server, &[], "echo \"it is $TOKEN\"; exec sleep 600");
    says(&server, &id);
    let engine = server.engine().unwrap();
    let name = format!("runvoy-{id}");
    for args in [&["inspect", &name][..], &["top", &name], &["logs", &name], &["diff", &name]] {
        let told = docker(engine, args);
        assert!(!stdout(&told).contains(&value) && !stderr(&told).contains(&value), "{args:?}");
    }
    assert_eq!(leaks(&server, &value), NOWHERE);
    let seen = server.run(&["run", "--secret", "gh", "--", "printf %s \"$TOKEN\" | wc -c"]);
    assert_eq!(stdout(&seen).trim(), value.len().to_string());
    server.run(&["kill", &id, "--grace", "1s"]);
    assert_eq!(server.record(&id)["log_replacements"], 1);
    assert_eq!(leaks(&server, &value), NOWHERE);
}

#[test]
fn a_wrong_master_key_is_one_clear_error_and_loses_nothing() {
    let mut server = Server::start();
    let value = value();
    create(&server, "gh", &value);
    server.terminate();
    let key = server.data_dir().join("master.key");
    let right = std::fs::read(&key).unwrap();
    let serve = |home: &Path, with: Option<&str>| {
        let data = home.join("data");
        let mut command = runvoy(home);
        command
            .args(["local", "serve", "--executor", "process", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data);
        with.map(|key| command.env("RUNVOY_MASTER_KEY", key));
        let output = command.output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let before = std::fs::read(server.data_dir().join("runvoy.db")).unwrap();
    std::fs::write(&key, [7; 32]).unwrap();
    let elsewhere = "07".repeat(32);
    for with in [None, Some(elsewhere.as_str())] {
        let (code, said) = serve(server.dir.path(), with);
        assert_eq!(code, Some(78), "{said}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error:")).collect();
        assert!(errors.len() == 1 && errors[0].contains("its master key is another one"), "{said}");
    }
    let (code, said) = serve(server.dir.path(), Some("no key"));
    assert!(code == Some(78) && said.contains("RUNVOY_MASTER_KEY: it is not 64 hex digits"), "{said}");
    assert!(std::fs::read(server.data_dir().join("runvoy.db")).unwrap() == before, "not a byte is changed");
    std::fs::write(&key, right).unwrap();
    server.restart();
    assert_eq!(stdout(&server.run(&["secrets", "get", "gh", "--reveal"])), value);
}

fn local(home: &Path, args: &[&str]) -> Command {
    let mut command = runvoy(home);
    command.args(["local"]).args(args).arg("--data-dir").arg(home.join("data"));
    command
}

/// A command that fails unless it gets the value.
fn gets(home: &Path, value: &str, key: Option<&str>) -> Output {
    let mut command = local(home, &["run", "--executor", "process", "--secret", "gh"]);
    key.map(|key| command.env("RUNVOY_MASTER_KEY", key));
    command.args(["--", &format!("[ \"$TOKEN\" = '{value}' ]")]).output().unwrap()
}

/// The names of all files of the data directory that hold a key.
fn key_files(home: &Path) -> Vec<String> {
    let names = std::fs::read_dir(home.join("data")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("master")).collect()
}

#[test]
fn a_rotation_that_is_killed_at_any_time_loses_nothing() {
    let mut server = Server::start();
    let value = value();
    create(&server, "gh", &value);
    for number in 0..40 {
        create(&server, &format!("other-{number}"), &value);
    }
    server.terminate();
    let home = server.dir.path();
    let rotate = || local(home, &["rotate-master-key"]).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::time::Instant::now();
    let whole = rotate().wait_with_output().unwrap();
    let took = begun.elapsed();
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    assert!(stderr(&whole).contains("sealed anew: 41 secrets"), "{}", stderr(&whole));
    let mut killed = 0;
    for round in 0..20_u32 {
        let mut child = rotate();
        // Not to wait for anything: the moment is to be another one each time.
        std::thread::sleep(took * (round % 20) / 16);
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
        let ran = gets(home, &value, None);
        assert_eq!(ran.status.code(), Some(0), "round {round}: {}", stderr(&ran));
        assert_eq!(key_files(home), ["master.key"], "round {round}");
    }
    assert!(killed > 0, "none was killed in {took:?}");
    server.restart();
    assert_eq!(stdout(&server.run(&["secrets", "get", "gh", "--reveal"])), value);
    let verify = server.run(&["audit", "verify"]);
    assert_eq!(verify.status.code(), Some(0), "{}", stderr(&verify));
    assert!(stdout(&server.run(&["audit", "-o", "json"])).contains("rotate_master_key"));
}

#[test]
fn a_master_key_that_is_kept_elsewhere_is_in_no_file_and_no_environment() {
    let mut server = Server::start();
    let value = value();
    create(&server, "gh", &value);
    server.terminate();
    let home = server.dir.path();
    let [first, second] = ["0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4)];
    let rotate = |old: Option<&str>, new: Option<&str>| {
        let mut command = local(home, &["rotate-master-key"]);
        old.map(|key| command.env("RUNVOY_MASTER_KEY", key));
        new.map(|key| command.env("RUNVOY_NEW_MASTER_KEY", key));
        command.output().unwrap()
    };
    let out = rotate(None, Some(&first));
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(!home.join("data/master.key").exists());
    let missing = rotate(Some(&first), None);
    assert_eq!(missing.status.code(), Some(78));
    assert!(stderr(&missing).contains("RUNVOY_NEW_MASTER_KEY"), "{}", stderr(&missing));
    assert_eq!(rotate(Some(&first), Some(&second)).status.code(), Some(0));
    let again = rotate(Some(&first), Some(&second));
    assert!(
        again.status.code() == Some(0) && stderr(&again).contains("nothing was left"),
        "{}",
        stderr(&again)
    );
    assert_eq!(gets(home, &value, Some(&second)).status.code(), Some(0));
    let mut looks = local(home, &["run", "--executor", "process"]);
    looks.env("RUNVOY_MASTER_KEY", &second);
    let search = "cat /proc/[0-9]*/environ 2>/dev/null | grep -ac fedcba98765432''10fedcba; true";
    let looked = looks.args(["--", search]).output().unwrap();
    assert_eq!(stdout(&looked), "0\n", "{}", stderr(&looked));
    assert!(!home.join("data/master.key").exists());
}

#[test]
fn no_running_command_sees_the_keys_of_a_rotation() {
    let mut server = Server::start();
    server.terminate();
    let home = server.dir.path();
    let [first, second] = ["0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4)];
    let moved = local(home, &["rotate-master-key"]).env("RUNVOY_NEW_MASTER_KEY", &first).output().unwrap();
    assert_eq!(moved.status.code(), Some(0), "{}", stderr(&moved));
    // Stands in the place of the database's lock: whoever opens it waits for whoever reads it.
    let gate = home.join("data/runvoy.db-lock");
    std::fs::remove_file(&gate).unwrap();
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut rotate = local(home, &["rotate-master-key"]);
    rotate.env("RUNVOY_MASTER_KEY", &first).env("RUNVOY_NEW_MASTER_KEY", &second);
    let rotation = rotate.stderr(Stdio::piped()).spawn().unwrap();
    let environment = || std::fs::read(format!("/proc/{}/environ", rotation.id()));
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    // Who is not root may not even look.
    until("it has started again", || {
        environment().map_or(true, |bytes| holds(&bytes, "RUNVOY_PRESET_ON_STDIN="))
    });
    let seen = environment().unwrap_or_default();
    assert!(!holds(&seen, &first) && !holds(&seen, &second), "its environment has a key");
    let reader = std::fs::File::open(&gate).unwrap();
    let rotated = rotation.wait_with_output().unwrap();
    assert_eq!(rotated.status.code(), Some(0), "{}", stderr(&rotated));
    assert!(stderr(&rotated).contains("sealed anew"), "{}", stderr(&rotated));
    drop(reader);
    std::fs::remove_file(&gate).unwrap();
    let ran =
        local(home, &["run", "--executor", "process", "true"]).env("RUNVOY_MASTER_KEY", &second).output();
    assert_eq!(ran.unwrap().status.code(), Some(0));
}

#[test]
fn a_command_cannot_read_the_memory_of_its_server() {
    let server = Server::start();
    // Root may read everybody's, unless it has no such right any more; then it is like anybody.
    let look = format!(
        "drop=; [ \"$(id -u)\" != 0 ] || drop='setpriv --bounding-set -sys_ptrace'; sleep 60 & own=$!; \
         for pid in $own {}; do $drop cat /proc/$pid/environ >/dev/null 2>&1; echo $?; done; kill $own",
        server.pid()
    );
    let looked = server.run(&["run", "--", &look]);
    assert_eq!(stdout(&looked), "0\n1\n", "{}", stderr(&looked));
}
