//! People from outside: how they come by a key, and what becomes of it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Barrier};

use super::harness::{Running, Server, runvoy, stderr, stdout};
use super::http::{request, with};
use super::state::holding;

/// Somebody at another machine: what they have is a configuration of their own.
pub(crate) struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn new(server: &Server) -> Self {
        let person = Self { home: tempfile::tempdir().unwrap() };
        let configured = person.run(&["configure", "--endpoint", &server.endpoint]);
        assert_eq!(configured.status.code(), Some(0), "{}", stderr(&configured));
        person
    }

    /// Somebody who was invited and has fetched their key.
    pub(crate) fn who_joined(server: &Server, email: &str, role: &str) -> Self {
        let person = Self::new(server);
        let claimed = person.claim(&invite(server, email, role));
        assert_eq!(claimed.status.code(), Some(0), "{}", stderr(&claimed));
        person
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = runvoy(self.home.path());
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Claims with the token on standard input.
    fn claim(&self, token: &str) -> Output {
        let mut command = self.command(&["claim", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
        child.wait_with_output().unwrap()
    }

    fn key(&self) -> String {
        let text = std::fs::read_to_string(self.home.path().join(".runvoy/config.yaml")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("api_key: ")).expect("a key");
        line.trim_matches('\'').to_owned()
    }
}

fn invite(server: &Server, email: &str, role: &str) -> String {
    let created = server.run(&["users", "create", email, "--role", role, "--expires", "90d"]);
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
    stdout(&created).trim().to_owned()
}

fn users(server: &Server) -> serde_json::Value {
    let listed = server.run(&["users", "list", "-o", "json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", stderr(&listed));
    serde_json::from_slice::<serde_json::Value>(&listed.stdout).unwrap()["users"].clone()
}

#[test]
fn somebody_joins_works_and_is_shown_the_door() {
    let server = Server::start();
    let created = server.run(&["users", "create", "dev@acme.test", "--role", "developer"]);
    let token = stdout(&created).trim().to_owned();
    // The process executor keeps nobody from the server's data.
    assert!(stderr(&created).contains("roles bind only the honest"), "{}", stderr(&created));
    assert!(server.log().contains("roles bind only the honest"), "{}", server.log());
    let third = server.run(&["users", "create", "ops@acme.test", "--role", "operator"]);
    assert!(!stderr(&third).contains("roles bind"), "said once: {}", stderr(&third));

    let dev = Person::new(&server);
    let claimed = dev.claim(&token);
    assert_eq!(claimed.status.code(), Some(0), "{}", stderr(&claimed));
    assert!(claimed.stdout.is_empty() && !stderr(&claimed).contains(&dev.key()), "{}", stderr(&claimed));
    let mode = std::fs::metadata(dev.home.path().join(".runvoy/config.yaml")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    assert!(stdout(&dev.run(&["whoami"])).contains("dev@acme.test"));
    let again = Person::new(&server).claim(&token);
    assert_eq!(again.status.code(), Some(65), "{}", stderr(&again));
    let denied = dev.run(&["users", "list"]);
    assert_eq!(denied.status.code(), Some(77), "{}", stderr(&denied));

    let started = dev.run(&["run", "--detach", "--", "echo ready; sleep 60"]);
    let id = stdout(&started).trim().to_owned();
    let mut follower = Running::spawn(dev.command(&["logs", "-f", &id]));
    follower.expect("ready");
    let revoked = server.run(&["users", "revoke", "dev@acme.test"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", stderr(&revoked));
    let (code, _, said) = follower.finish();
    assert_eq!(code, Some(77), "{said}");
    let refused = dev.run(&["whoami"]);
    assert!(
        refused.status.code() == Some(77) && stderr(&refused).contains("revoked"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(users(&server)[1]["revoked"], true);
    server.run(&["kill", &id]);
}

#[test]
fn a_key_is_replaced_by_its_owner_and_not_lost_by_mistake() {
    let server = Server::start();
    let dev = Person::new(&server);
    assert_eq!(dev.claim(&invite(&server, "dev@acme.test", "developer")).status.code(), Some(0));
    let old = dev.key();

    // Somebody else's token does not take the place of a key that works.
    let other = invite(&server, "other@acme.test", "viewer");
    let refused = dev.claim(&other);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("dev@acme.test") && dev.key() == old, "{}", stderr(&refused));
    let elsewhere = dev.command(&["claim", &other, "--profile", "other"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(78), "a profile without a server: {}", stderr(&elsewhere));

    let rotated = dev.run(&["users", "rotate", "dev@acme.test"]);
    assert_eq!(rotated.status.code(), Some(0), "{}", stderr(&rotated));
    assert_eq!(dev.run(&["whoami"]).status.code(), Some(77), "the old key stops at once");
    let claimed = dev.claim(stdout(&rotated).trim());
    assert_eq!(claimed.status.code(), Some(0), "{}", stderr(&claimed));
    assert_ne!(dev.key(), old);
    let me = stdout(&dev.run(&["whoami"]));
    assert!(me.contains("dev@acme.test") && me.contains("key expires"), "{me}");

    let alone = server.run(&["users", "revoke", "admin@localhost"]);
    assert_eq!(alone.status.code(), Some(65), "{}", stderr(&alone));
    assert!(stderr(&alone).contains("last admin"), "{}", stderr(&alone));
    assert_eq!(dev.claim("nonsense").status.code(), Some(2));
}

#[test]
fn of_a_hundred_claims_at_once_one_wins() {
    let server = Server::start();
    let token = invite(&server, "dev@acme.test", "developer");
    let address = server.address().to_owned();
    let start = Arc::new(Barrier::new(100));
    let claims: Vec<_> = (0..100)
        .map(|_| {
            let (start, address, path) = (Arc::clone(&start), address.clone(), format!("/claim/{token}"));
            std::thread::spawn(move || {
                start.wait();
                request(&address, "GET", &path, "", "")
            })
        })
        .collect();
    let answers: Vec<_> = claims.into_iter().map(|claim| claim.join().unwrap()).collect();
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)), "{answers:?}");
    let answer = won[0].json();
    let me = server.ask_as(answer["api_key"].as_str(), "GET", "/me", "");
    assert!(me.status == 200 && me.body.contains("dev@acme.test"), "{me:?}");
}

#[test]
fn claim_tokens_and_the_keys_they_fetch_are_kept_nowhere() {
    let mut server = Server::start();
    let dev = Person::new(&server);
    let (token, open) =
        (invite(&server, "dev@acme.test", "viewer"), invite(&server, "ops@acme.test", "operator"));
    assert_eq!(dev.claim(&token).status.code(), Some(0));
    let key = dev.key();
    dev.run(&["whoami"]);
    for secret in [&token, &open, &key] {
        // The server's log lies beside its data.
        assert_eq!(holding(server.dir.path(), secret.as_bytes()), Vec::<std::path::PathBuf>::new());
    }
    server.crash();
    server.restart();
    assert!(stdout(&dev.run(&["whoami"])).contains("dev@acme.test"), "what was claimed is kept");
    let ops = Person::new(&server).claim(&open);
    assert_eq!(ops.status.code(), Some(0), "a token outlives a crash: {}", stderr(&ops));
}

#[test]
fn who_was_seen_is_written_down_when_the_server_stops() {
    let mut server = Server::start();
    let dev = Person::new(&server);
    dev.claim(&invite(&server, "dev@acme.test", "viewer"));
    assert_eq!(users(&server)[1].get("last_used"), None);
    dev.run(&["whoami"]);
    assert!(users(&server)[1]["last_used"].is_string());
    let before = users(&server)[1].clone();
    server.terminate();
    server.restart();
    assert_eq!(users(&server)[1], before);
}

#[test]
fn limits_are_told_with_a_time_to_come_back() {
    let options = ["--rate-per-key", "1", "--failures-per-address", "2", "--trusted-proxy", "127.0.0.1"];
    let server = Server::start_with(&options);
    let refused = (0..1000).map(|_| server.ask("GET", "/me", "")).find(|answer| answer.status == 429);
    let refused = refused.expect("ten at once and one a second is less than this");
    assert!(
        refused.head.contains("\r\nretry-after: ") && refused.body.contains("TOO_MANY_REQUESTS"),
        "{refused:?}"
    );

    let guess = |from: &str| {
        let headers = format!("{}X-Forwarded-For: {from}\r\n", with("a-guess-of-24-characters"));
        request(server.address(), "GET", "/me", &headers, "").status
    };
    let refused = (0..1000).any(|_| guess("192.0.2.1") == 429);
    assert!(refused, "two guesses a minute are less than this");
    assert_eq!(guess("192.0.2.2"), 401, "somebody else is looked at");
}
