use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Answer, Server, TestEnv, finish};
use crate::{ID, accepted, block, end};

fn run(script: Vec<Answer>, args: &[&str]) -> (crate::common::Ran, Server) {
    let server = Server::new(script);
    let ran = TestEnv::new(&server.endpoint).run(args);
    assert_eq!(server.left(), 0, "{:?}\n{ran:?}", server.lines());
    (ran, server)
}

#[test]
fn bytes_go_where_the_command_wrote_them() {
    let text = [
        "event: status\ndata: {\"status\":\"RUNNING\"}\n\n".to_owned(),
        block("stdout", 1, r#""text":"one\ntwö \u001b[31m\r""#),
        block("stderr", 2, r#""text":"oops\n""#),
        block("stdout", 3, r#""raw":"AP/+""#),
        end("FAILED", "exited", "7"),
    ];
    let (ran, server) = run(vec![accepted(), Answer::events(&text.concat())], &["run", "echo", "a b"]);
    assert_eq!(ran.bytes, b"one\ntw\xc3\xb6 \x1b[31m\r\0\xff\xfe");
    assert_eq!((ran.stderr.as_str(), ran.code), ("oops\n", 7));
    let asked = server.asked();
    assert_eq!(asked[0].body, r#"{"command":"echo 'a b'"}"#);
    assert_eq!(asked[0].key.as_deref(), Some("the-key-of-this-test-0001"));
    assert_eq!(asked[0].idempotency_key.as_ref().unwrap().len(), 32);
    assert_eq!(asked[1].line, format!("GET /api/v1/executions/{ID}/logs/stream?format=blocks"));
}

#[test]
fn a_prompt_shows_at_once() {
    let log = Answer::events(&block("stdout", 1, r#""text":"prompt> ""#)).hangs();
    let server = Server::new([accepted(), log]);
    let env = TestEnv::new(&server.endpoint);
    let mut child = env.command(&["run", "x"]).spawn().unwrap();
    let mut shown = [0; 8];
    child.stdout.as_mut().unwrap().read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"prompt> ");
    child.kill().unwrap();
    finish(child);
}

#[test]
fn a_cut_connection_is_taken_up_and_told_once() {
    let (one, two, three) = (
        block("stdout", 1, r#""text":"one\n""#),
        block("stdout", 2, r#""text":"two\n""#),
        block("stdout", 3, r#""text":"three\n""#),
    );
    let script = vec![
        accepted(),
        Answer::events(&format!("{one}{}", &two[..40])).cut(),
        Answer::error(503, "draining", ""),
        Answer::events(&two).cut(),
        Answer::events(&format!("{three}{}", end("SUCCEEDED", "exited", "0"))),
    ];
    let (ran, server) = run(script, &["run", "x"]);
    assert_eq!((ran.stdout.as_str(), ran.code), ("one\ntwo\nthree\n", 0));
    assert_eq!(ran.stderr, "note: the connection was lost; going on from the last line\n");
    let after: Vec<_> =
        server.lines().iter().map(|line| line.rsplit('=').next().unwrap().to_owned()).collect();
    assert_eq!(after[2..], ["1", "1", "2"]);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let script = vec![
        Answer::json(202, "{\"execution_id\":").cut(),
        Answer::error(503, "busy", "restarting"),
        accepted(),
        Answer::events(&end("SUCCEEDED", "exited", "0")),
    ];
    let (ran, server) = run(script, &["run", "--no-shell", "-e", "A=1", "x", "-e", "B"]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("", 0));
    let asked = server.asked();
    assert_eq!(asked[0].body, r#"{"args":["x","-e","B"],"env":{"A":"1"}}"#);
    let keys: Vec<_> = asked[..3].iter().map(|asked| asked.idempotency_key.clone()).collect();
    assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn endings_that_are_not_the_commands_end_with_a_line() {
    let cases = [
        ("FAILED", "timed_out", "0", 124),
        ("STOPPED", "killed", "0", 143),
        ("STOPPED", "killed", "137", 137),
        ("FAILED", "start_failed", "null", 125),
        ("FAILED", "image_unavailable", "null", 125),
        ("FAILED", "workspace_failed", "null", 125),
        ("FAILED", "lost", "null", 125),
        ("FAILED", "log_limit", "143", 125),
    ];
    for (status, reason, exit_code, code) in cases {
        let script = vec![accepted(), Answer::events(&end(status, reason, exit_code))];
        let (ran, _) = run(script, &["--quiet", "run", "x"]);
        assert_eq!(ran.code, code, "{reason}");
        assert!(ran.stderr.starts_with("runvoy: ") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
}

#[test]
fn an_interrupt_detaches() {
    for signal in ["INT", "TERM", "HUP"] {
        let log = Answer::events(&block("stdout", 1, r#""text":"on\n""#)).hangs();
        let server = Server::new([accepted(), log]);
        let env = TestEnv::new(&server.endpoint);
        let child = env.command(&["run", "x"]).spawn().unwrap();
        server.wait_for(2);
        kill(signal, child.id());
        let ran = finish(child);
        assert_eq!(ran.code, 130);
        let want = "detached; 0f5ac3de goes on: `runvoy logs -f 0f5ac3de` follows it, \
                    `runvoy kill 0f5ac3de` stops it\n";
        assert_eq!(ran.stderr, want);
        assert_eq!(server.lines().len(), 2, "nothing was killed");
    }
}

#[test]
fn stop_on_interrupt_kills_and_waits() {
    let log = Answer::events(": hello\n\n").then(
        Duration::from_millis(700),
        &(block("stdout", 1, r#""text":"bye\n""#) + &end("STOPPED", "killed", "0")),
    );
    let killed = Answer::json(200, &format!(r#"{{"execution_id":"{ID}","message":"stopping"}}"#));
    let server = Server::new([accepted(), log, killed]);
    let env = TestEnv::new(&server.endpoint);
    let child = env.command(&["run", "--stop-on-interrupt", "x"]).spawn().unwrap();
    server.wait_for(2);
    kill("INT", child.id());
    let ran = finish(child);
    assert_eq!((ran.stdout.as_str(), ran.code), ("bye\n", 130), "{}", ran.stderr);
    assert_eq!(server.lines()[2], format!("DELETE /api/v1/executions/{ID}"));
}

#[test]
fn a_closed_pipe_stops_the_execution() {
    let mut log = Answer::events("");
    for cursor in 1..100 {
        log = log.then(Duration::from_millis(10), &block("stdout", cursor, r#""text":"line\n""#));
    }
    let killed = Answer::json(200, &format!(r#"{{"execution_id":"{ID}","message":"stopping"}}"#));
    let server = Server::new([accepted(), log.hangs(), killed]);
    let env = TestEnv::new(&server.endpoint);
    let mut child = env.command(&["run", "yes"]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = finish(child);
    assert_eq!(ran.code, 141, "{}", ran.stderr);
    assert_eq!(server.lines().last().unwrap(), &format!("DELETE /api/v1/executions/{ID}"));
}

#[test]
fn what_cannot_be_written_stops_nothing_and_says_how_to_follow() {
    let said = |log: Answer| {
        let server = Server::new([accepted(), log]);
        let env = TestEnv::new(&server.endpoint);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = finish(env.command(&["run", "x"]).stdout(full).spawn().unwrap());
        assert_eq!((ran.code, ran.stderr.lines().count()), (125, 1), "{}", ran.stderr);
        assert_eq!(server.lines().len(), 2, "nothing was killed: {:?}", server.lines());
        ran.stderr
    };
    let line = block("stdout", 1, r#""text":"line\n""#);
    let want = "error: cannot write to standard output: No space left on device (os error 28); 0f5ac3de goes on: \
                `runvoy logs -f 0f5ac3de` follows it, `runvoy kill 0f5ac3de` stops it\n";
    assert_eq!(said(Answer::events(&line).hangs()), want);
    let ended = said(Answer::events(&(line + &end("SUCCEEDED", "exited", "0"))));
    assert!(ended.contains("`runvoy logs "), "{ended}");
}

#[test]
fn a_piped_input_is_not_sent_and_that_is_said() {
    let script = || [accepted(), Answer::events(&end("SUCCEEDED", "exited", "0"))];
    let server = Server::new(script());
    let ran = TestEnv::new(&server.endpoint).run_with_input(&["run", "cat"], "data");
    assert_eq!((ran.stderr.as_str(), ran.code), ("note: standard input is not sent to the command\n", 0));
    let server = Server::new(script());
    let env = TestEnv::new(&server.endpoint);
    let file = std::fs::File::open(env.config()).unwrap();
    let ran = finish(env.command(&["run", "cat"]).stdin(Stdio::from(file)).spawn().unwrap());
    assert_eq!((ran.stderr.as_str(), ran.code), ("", 0));
}

#[test]
fn detach_prints_the_id() {
    let (ran, server) = run(vec![accepted()], &["run", "--detach", "--idempotency-key", "mine", "x"]);
    assert_eq!((ran.stdout, ran.code), (format!("{ID}\n"), 0));
    assert_eq!(server.asked()[0].idempotency_key.as_deref(), Some("mine"));
}

#[test]
fn what_is_no_log_is_an_error_and_the_execution_goes_on() {
    let wrong = [
        Answer::with(200, "text/html", "<html>"),
        Answer::events("event: block\ndata: {broken\n\n"),
        Answer::events("event: end\ndata: []\n\n"),
    ];
    for wrong in wrong {
        let (ran, _) = run(vec![accepted(), wrong], &["run", "x"]);
        assert_eq!(ran.code, 69);
        assert!(ran.stderr.contains("0f5ac3de goes on"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1);
    }
}

fn kill(signal: &str, pid: u32) {
    // The handlers are set up before the start is asked for; the log was asked for after.
    std::thread::sleep(Duration::from_millis(100));
    assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}
