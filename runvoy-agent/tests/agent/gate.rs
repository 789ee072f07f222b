//! At most one agent runs a command, and none without a whole spec.

use std::fs;

use nix::sys::signal::Signal;
use runvoy_task::{Gate, GateState, layout};

use crate::task::Task;

#[test]
fn the_claim_names_the_agent() {
    let task = Task::shell("true");
    let mut agent = task.start();
    let pid = agent.pid();
    agent.end();
    let GateState::Claimed(process) = task.gate().unwrap().state else { panic!("not claimed") };
    assert_eq!(process.pid.to_string(), pid.to_string());
    assert!(process.start_time > 0);
    assert_eq!(process.boot_id, fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
}

#[test]
fn of_many_agents_one_runs_the_command() {
    let task = Task::shell("echo ran >> ran");
    let mut agents: Vec<_> = (0..12).map(|_| task.start()).collect();
    for agent in &mut agents {
        assert_eq!(agent.exit().code(), Some(0));
    }
    assert_eq!(fs::read_to_string(task.work("ran")).unwrap(), "ran\n");
    let GateState::Claimed(process) = task.gate().unwrap().state else { panic!("not claimed") };
    assert_eq!(agents.iter().filter(|agent| agent.pid().to_string() == process.pid.to_string()).count(), 1);
}

#[test]
fn a_revoked_gate_lets_nobody_in() {
    let task = Task::shell("echo ran >> ran");
    let gate = serde_json::to_vec(&Gate::new(GateState::Revoked, 1)).unwrap();
    fs::write(task.dir.join(layout::GATE), &gate).unwrap();
    assert_eq!(task.start().exit().code(), Some(0));
    assert!(!task.work("ran").exists() && !task.dir.join(layout::END).exists());
    assert_eq!(fs::read(task.dir.join(layout::GATE)).unwrap(), gate);
    assert_eq!(fs::read_dir(&task.dir).unwrap().count(), 1);
}

#[test]
fn an_unusable_spec_claims_nothing() {
    let task = Task::shell("echo ran >> ran");
    let whole = serde_json::to_vec(&task.spec).unwrap();
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(whole.clone()).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    };
    for bytes in [
        Vec::new(),
        whole[..whole.len() - 1].to_vec(),
        changed("\"version\":2", "\"version\":99"),
        changed("\"TERM\"", "\"NOSUCH\""),
        changed("{\"shell\":\"echo ran >> ran\"}", "{\"args\":[]}"),
    ] {
        assert_eq!(task.start_with(&bytes).exit().code(), Some(125));
        assert_eq!(fs::read_dir(&task.dir).unwrap().count(), 0);
    }
}

#[test]
fn a_missing_directory_is_not_created() {
    let task = Task::shell("echo ran >> ran");
    fs::remove_dir(&task.dir).unwrap();
    assert_eq!(task.start().exit().code(), Some(125));
    assert!(!task.dir.exists() && !task.work("ran").exists());
}

#[test]
fn a_stop_before_the_spec_claims_nothing() {
    let task = Task::shell("true");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_runvoy-agent"))
        .arg("supervise")
        .arg(&task.dir)
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    // Handlers are there once the kernel lists TERM (bit 14) as caught.
    crate::task::eventually("handlers", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
        (u64::from_str_radix(caught, 16).ok()? & 1 << 14 != 0).then_some(())
    });
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert_eq!(fs::read_dir(&task.dir).unwrap().count(), 0);
}
