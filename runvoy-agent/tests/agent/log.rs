//! What a follower sees while the command runs, and what bounds a log.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runvoy_task::EndReason;
use runvoy_task::block::{Stream, Tail};

use crate::task::{Log, Task, allowed, eventually, request_stop};

/// Waits until a block with these bytes is in the log, whose command is still running.
fn seen(task: &Task, text: &str) -> Tail {
    eventually(text, || {
        Log::read_running(&task.dir)
            .blocks
            .iter()
            .find(|(_, payload)| payload == text.as_bytes())
            .map(|(h, _)| h.tail)
    })
}

#[test]
fn a_line_is_there_at_once_and_a_prompt_soon() {
    let task =
        Task::shell("echo line; printf 'prompt> '; while [ ! -e go ]; do sleep 0.01; done; echo answer");
    let mut agent = task.start();
    assert_eq!(seen(&task, "line\n"), Tail::Newline);
    assert_eq!(seen(&task, "prompt> "), Tail::Part);
    fs::write(task.work("go"), "").unwrap();
    let end = agent.end();
    assert_eq!(task.log().stdout(), "line\nprompt> answer\n");
    task.log().assert_agrees(&end);
}

#[test]
fn progress_is_shown_while_it_goes_on() {
    // Never silent for 100 ms, never a newline.
    let task = Task::shell("while [ ! -e stop ]; do printf '.\\r'; sleep 0.02; done");
    let mut agent = task.start();
    eventually("three flushes", || (Log::read_running(&task.dir).blocks.len() >= 3).then_some(()));
    let log = Log::read_running(&task.dir);
    fs::write(task.work("stop"), "").unwrap();
    agent.end();
    let times: Vec<u64> = log.blocks.iter().map(|(header, _)| header.time_ms).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 1000), "{times:?}");
    assert!(log.blocks.iter().all(|(header, _)| header.tail == Tail::Part));
}

#[test]
fn the_last_line_may_lack_its_newline() {
    let (_, log) = Task::shell("printf 'a\\nb'").run();
    assert_eq!(log.stdout(), "a\nb");
    assert_eq!(log.blocks.last().unwrap().0.tail, Tail::NoNewline);
}

#[test]
fn a_log_over_its_limit_ends_the_task() {
    let task = Task::shell("trap '' TERM; exec yes").with(|spec| spec.log_limit = 1_000_001);
    let start = Instant::now();
    let (end, log) = task.run();
    assert!(start.elapsed() < Duration::from_secs(10), "no grace is given");
    assert_eq!((end.reason, end.exit_code, end.bytes), (EndReason::LogLimit, Some(137), 1_000_001));
    log.assert_agrees(&end);
    assert!(log.stdout().starts_with("y\ny\n"));
}

#[test]
fn a_log_just_at_its_limit_does_not() {
    let (end, _) = Task::shell("printf 12345678").with(|spec| spec.log_limit = 8).run();
    assert_eq!((end.reason, end.bytes), (EndReason::Exited, 8));
}

#[test]
fn output_of_what_is_left_behind_is_kept() {
    let task = Task::shell(
        "(trap 'echo bye; exit' TERM; touch ready; while :; do sleep 0.01; done) & \
                            while [ ! -e ready ]; do sleep 0.01; done; echo main",
    );
    let (end, log) = task.run();
    assert_eq!((end.exit_code, end.reason), (Some(0), EndReason::Exited));
    assert_eq!(log.stdout(), "main\nbye\n");
}

/// A file system of 1 MB that goes away with the value.
pub(crate) struct Tmpfs<'a>(&'a std::path::Path);

impl<'a> Tmpfs<'a> {
    pub(crate) fn mount(path: &'a std::path::Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path);
        let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
        allowed("the right to mount", mounted).then(|| Self(path))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let task = Task::shell("seq 200000; echo done >&2");
    let Some(_tmpfs) = Tmpfs::mount(&task.dir) else { return };
    let mut agent = task.start();
    eventually("a full disk", || (Log::size(&task.dir) > 900_000).then_some(()));
    Command::new("mount").args(["-o", "remount,size=16m"]).arg(&task.dir).status().unwrap();
    let end = agent.end();
    let numbers: Vec<String> = (1..=200_000).map(|n| n.to_string()).collect();
    let expected = numbers.join("\n") + "\n";
    assert!(task.log().bytes(Stream::Stdout) == expected.as_bytes(), "output differs");
    assert_eq!(task.log().stderr(), "done\n");
    task.log().assert_agrees(&end);
}

#[test]
fn a_full_disk_has_room_left_for_a_kill_and_its_record() {
    let task = Task::shell("exec yes");
    let Some(_tmpfs) = Tmpfs::mount(&task.dir) else { return };
    Command::new("mount").args(["-o", "remount,size=64m"]).arg(&task.dir).status().unwrap();
    let mut agent = task.start();
    eventually("a disk as full as it may be", || (Log::size(&task.dir) > 60_000_000).then_some(()));
    // Nobody makes room: not for the order, nor for what the command had said by then.
    request_stop(&task.dir, Some(Duration::from_millis(100)));
    agent.signal(Signal::SIGTERM);
    let end = agent.end();
    assert_eq!(end.reason, EndReason::Stopped);
    task.log().assert_agrees(&end);
}

#[test]
fn a_full_disk_does_not_keep_the_command_alive() {
    let task = Task::shell("touch started; exec yes");
    let Some(_tmpfs) = Tmpfs::mount(&task.dir) else { return };
    // While there is room for it; it counts from the signal on.
    request_stop(&task.dir, Some(Duration::from_millis(100)));
    let mut agent = task.start();
    eventually("a full disk", || (Log::size(&task.dir) > 900_000).then_some(()));
    agent.signal(Signal::SIGTERM);
    eventually("the command's end", || task.leftovers().is_empty().then_some(()));
    Command::new("mount").args(["-o", "remount,size=16m"]).arg(&task.dir).status().unwrap();
    let end = agent.end();
    assert_eq!(end.reason, EndReason::Stopped);
    task.log().assert_agrees(&end);
}
