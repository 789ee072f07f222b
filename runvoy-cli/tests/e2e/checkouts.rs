//! Commands that start in a commit of a repository, which a real git serves behind TLS and a login.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::docker::engine;
use crate::git_server::proxy::Proxy;
use crate::git_server::repository::{Repositories, Repository};
use crate::git_server::{HIDDEN_HOST, Server as Forge};
use crate::harness::{Server, runvoy, signal, stderr, stdout, until};
use crate::secrets::{NOWHERE, create, leaks, supervisors, value};

/// A server, and a forge that it trusts and whose repositories want a token.
struct World {
    server: Server,
    forge: Forge,
    repositories: Repositories,
    token: String,
    authority: TempDir,
}

impl World {
    fn new(engine: Option<String>) -> Self {
        let (token, repositories, authority) = (value(), Repositories::new(), tempfile::tempdir().unwrap());
        let forge = Forge::start(repositories.root(), Some(&token));
        let bundle = authority.path().join("ca.pem");
        std::fs::write(&bundle, &forge.authority).unwrap();
        let server = Server::start_in(&[("RUNVOY_CA_BUNDLE", bundle.to_str().unwrap())], engine);
        create(&server, "forge", &format!("{token}\n"));
        Self { server, forge, repositories, token, authority }
    }

    /// A repository with two commits: `main` and the tag `v1.0` are the second, `old` is the first. Answers both.
    fn publish(&self, name: &str) -> (Repository, String, String) {
        let files: &[(&str, &str)] =
            &[("README.md", "first\n"), ("live/prod/main.tf", "prod\n"), ("live/dev/.env", "OWN=1\n")];
        let repository = self.repositories.create(name, files);
        let first = repository.git(&["rev-parse", "HEAD"]);
        repository.write(&[("README.md", "second\n")]);
        let second = repository.commit("second");
        for (commit, name) in [(&first, "heads/old"), (&second, "heads/main"), (&second, "tags/v1.0")] {
            repository.publish(commit, &format!("refs/{name}"));
        }
        (repository, first, second)
    }

    /// Runs on a path of the forge's, with the token.
    fn run(&self, path: &str, options: &[&str], command: &[&str]) -> Output {
        let url = self.forge.url(path);
        let private = ["--git-repo", &url, "--git-token-secret", "forge"];
        self.server.run(&[&["run"][..], &private, options, &["--"], command].concat())
    }

    /// The same without waiting for it; its id.
    fn detach(&self, path: &str, options: &[&str], command: &str) -> String {
        let output = self.run(path, &[&["--detach"], options].concat(), &[command]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    fn last(&self) -> Value {
        let listed = self.server.run(&["list", "--limit", "1", "-o", "json"]);
        let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
        self.server.record(list[0]["execution_id"].as_str().unwrap())
    }
}

#[test]
fn a_private_repository_is_run_by_branch_tag_and_commit_and_the_record_says_which_it_was() {
    let world = World::new(None);
    let (_, first, second) = world.publish("a");
    for (git_ref, commit, text) in [
        (None, &second, "second"),
        (Some("old"), &first, "first"),
        (Some("v1.0"), &second, "second"),
        (Some(first.as_str()), &first, "first"),
    ] {
        let options: Vec<&str> = git_ref.iter().flat_map(|name| ["-r", name]).collect();
        let ran = world.run("a.git", &options, &["cat README.md; echo \"[$TOKEN]\""]);
        assert_eq!(stdout(&ran), format!("{text}\n[]\n"), "{}", stderr(&ran));
        let record = world.last();
        assert_eq!(record["git_commit"].as_str(), Some(commit.as_str()), "{git_ref:?}");
        assert_eq!(record["git_ref"], git_ref.unwrap_or("main"));
        assert_eq!(record["git_repo"].as_str(), Some(world.forge.url("a.git").as_str()));
        assert_eq!(record["secrets"], serde_json::json!([{"name": "forge", "version": 1}]));
        assert_eq!(record["log_replacements"], 0);
    }
    let id = world.last()["execution_id"].as_str().unwrap().to_owned();
    let shown = stdout(&world.server.run(&["status", &id]));
    assert!(shown.contains(&first) && shown.contains("forge (version 1)"), "{shown}");
    let inside = world.run("a.git", &["-p", "live/prod"], &["cat main.tf ../../README.md"]);
    assert_eq!(stdout(&inside), "prod\nsecond\n");
    let audit = stdout(&world.server.run(&["audit", "--action", "use_secret", "-o", "json"]));
    assert_eq!(audit.matches("secret:forge").count(), 5, "{audit}");
    let why = stdout(&world.server.run(&["why", &id, "-o", "json"]));
    let why: Value = serde_json::from_str(&why).unwrap();
    assert!(why["phases"].as_array().unwrap().iter().any(|phase| phase["phase"] == "workspace"), "{why}");
}

#[test]
fn what_is_in_the_way_of_a_checkout_is_told_with_a_remedy_and_nothing_runs() {
    let world = World::new(None);
    let (repository, ..) = world.publish("a");
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "0".repeat(64));
    repository.write(&[(".gitattributes", "*.bin filter=lfs diff=lfs\n"), ("x.bin", &pointer)]);
    let lfs = repository.commit("lfs");
    repository.publish(&lfs, "refs/heads/lfs");
    create(&world.server, "wrong", "not-the-token-of-this-forge");
    let cases: [(&str, &[&str], &str, &str); 6] = [
        ("a.git", &["-r", "nosuch"], "no branch or tag `nosuch`", "check git_ref"),
        ("a.git", &["-p", "nosuch"], "git_path `nosuch` is no directory of the repository", "name one"),
        ("b.git", &[], "no such repository", "check both"),
        ("a.git", &["--git-token-secret", "wrong"], "refuses the token (401)", "check that it is valid"),
        ("a.git", &["-r", "lfs"], "Git LFS", ""),
        ("busy/a.git", &[], "cannot serve the repository at the moment (503)", "try again later"),
    ];
    for (path, options, sentence, remedy) in cases {
        let url = world.forge.url(path);
        let mut args = vec!["run", "--git-repo", &url];
        if !options.contains(&"--git-token-secret") {
            args.extend(["--git-token-secret", "forge"]);
        }
        let ran = world.server.run(&[&args[..], options, &["--", "echo ran"]].concat());
        let said = stderr(&ran);
        assert_eq!((ran.status.code(), stdout(&ran).as_str()), (Some(125), ""), "{said}");
        assert!(said.contains(sentence), "{said}");
        let record = world.last();
        assert_eq!(
            (&record["status_reason"], &record["exit_code"]),
            (&"workspace_failed".into(), &Value::Null)
        );
        let why = stdout(&world.server.run(&["why", record["execution_id"].as_str().unwrap()]));
        assert!(why.contains(sentence) && why.contains(remedy), "{why}");
        assert!(!said.contains(&world.token) && !said.contains("not-the-token"), "{said}");
    }
    let asked = |url: &str| world.server.run(&["run", "--git-repo", url, "--", "true"]);
    for (url, sentence) in [
        ("git@git.acme.test:a.git", "use the https:// URL, with a token for a private repository"),
        ("https://me:hunter22@git.acme.test/a.git", "give the token as a secret instead"),
    ] {
        let refused = asked(url);
        assert_eq!(refused.status.code(), Some(65));
        assert!(stderr(&refused).contains(sentence), "{}", stderr(&refused));
    }
}

#[test]
fn a_token_is_found_nowhere_while_checkouts_wait_run_crash_and_have_ended() {
    let mut world = World::new(None);
    world.publish("a");
    let sleeps = "echo begun; while [ ! -e stop ]; do sleep 0.05; done";
    let holder = world.detach("slow/a.git", &["--lock", "prod"], sleeps);
    let waiter = world.detach("a.git", &["--lock", "prod", "--wait"], "env; cat .git/config; cat README.md");
    until("a checkout that waits for the forge", || world.forge.held() > 0);
    assert_eq!(world.server.record(&waiter)["status"], "QUEUED");
    assert_eq!(leaks(&world.server, &world.token), NOWHERE, "in a checkout, and in line");
    world.server.crash();
    assert_eq!(leaks(&world.server, &world.token), NOWHERE, "after kill -9");
    world.server.restart();
    world.forge.release();
    until("it has begun", || stdout(&world.server.run(&["logs", &holder])) == "begun\n");
    assert_eq!(leaks(&world.server, &world.token), NOWHERE, "while the command runs");
    let crashed = world.detach("a.git", &[], sleeps);
    until("it has begun", || stdout(&world.server.run(&["logs", &crashed])) == "begun\n");
    for pid in supervisors(&crashed) {
        signal(pid, "KILL");
    }
    assert_eq!(world.server.ended(&crashed)["status_reason"], "lost");
    assert_eq!(leaks(&world.server, &world.token), NOWHERE, "after a supervisor's death");
    world.server.run(&["kill", &holder, "--grace", "1s"]);
    let record = world.server.ended(&waiter);
    assert_eq!(
        (&record["status"], &record["log_replacements"]),
        (&"SUCCEEDED".into(), &0.into()),
        "{record}"
    );
    assert!(stdout(&world.server.run(&["logs", &waiter])).ends_with("second\n"));
    world.server.terminate();
    assert_eq!(leaks(&world.server, &world.token), NOWHERE, "when all is over");
}

#[test]
fn variables_are_repeated_in_a_file_and_secrets_are_not() {
    let world = World::new(None);
    world.publish("a");
    for engine in [None, engine()] {
        let in_containers = engine.map(|engine| World::new(Some(engine)));
        let world = in_containers.as_ref().unwrap_or(&world);
        if in_containers.is_some() {
            world.publish("a");
        }
        on_the_host(world);
        let options = ["-e", "WHO=the caller", "--secret", "forge"];
        let ran = world.run("a.git", &options, &["cat .env; ls -l .env | cut -c 1-10"]);
        assert_eq!(stdout(&ran), "WHO='the caller'\n-rw-------\n", "{}", stderr(&ran));
        let inside = [&["-p", "live/dev"], &options[..]].concat();
        assert_eq!(stdout(&world.run("a.git", &inside, &["cat .env"])), "OWN=1\n", "the code brings its own");
    }
}

/// A container reaches the forge of a test by the network of this machine.
fn on_the_host(world: &World) {
    if world.server.engine().is_none() {
        return;
    }
    for image in ["busybox", "static", "debian", "musl"] {
        let image = format!("runvoy-test/{image}");
        // The default image once more: without limits it is the same.
        let as_it_is = ["--cpu", "0", "--memory", "0", "--network", "host"];
        let registered = world.server.run(&[&["images", "register", &image], &as_it_is[..]].concat());
        assert_eq!(registered.status.code(), Some(0), "{}", stderr(&registered));
    }
}

#[test]
fn a_checkout_needs_nothing_of_its_image() {
    let Some(engine) = engine() else { return };
    let world = World::new(Some(engine));
    let (_, first, second) = world.publish("a");
    on_the_host(&world);
    let busybox = ["-i", "runvoy-test/busybox"];
    for (git_ref, commit, text) in
        [("main", &second, "second\n"), ("v1.0", &second, "second\n"), (first.as_str(), &first, "first\n")]
    {
        let ran = world.run("a.git", &[&busybox[..], &["-r", git_ref]].concat(), &["cat README.md"]);
        assert_eq!(stdout(&ran), text, "{}", stderr(&ran));
        assert_eq!(world.last()["git_commit"].as_str(), Some(commit.as_str()));
        let debian = ["-i", "runvoy-test/debian", "-r", git_ref];
        let ran = world.run("a.git", &debian, &["head -1 /etc/os-release; cat README.md"]);
        assert_eq!(stdout(&ran).split_once('\n').unwrap().1, text, "{}", stderr(&ran));
        assert!(stdout(&ran).starts_with("PRETTY_NAME=\"Debian"), "{}", stdout(&ran));
        let bare = ["-i", "runvoy-test/static", "--no-shell", "-r", git_ref];
        let ran = world.run("a.git", &bare, &["/busybox", "cat", "README.md"]);
        assert_eq!(stdout(&ran), text, "without a shell: {}", stderr(&ran));
        let musl = ["-i", "runvoy-test/musl", "--no-shell", "-r", git_ref];
        let ran = world.run("a.git", &musl, &["/hello", "README.md"]);
        assert_eq!(stdout(&ran), format!("musl\n{text}"), "{}", stderr(&ran));
        assert_eq!(world.last()["git_commit"].as_str(), Some(commit.as_str()));
    }
}

#[test]
fn no_engine_knows_a_token_while_containers_wait_run_crash_and_have_ended() {
    let Some(engine) = engine() else { return };
    let mut world = World::new(Some(engine));
    world.publish("a");
    on_the_host(&world);
    let prod = ["-i", "runvoy-test/busybox", "--lock", "prod"];
    let holder = world.detach("slow/a.git", &prod, "echo begun; exec sleep 600");
    let waiter = world.detach("a.git", &[&prod[..], &["--wait"]].concat(), "cat README.md");
    until("a checkout that waits for the forge", || world.forge.held() > 0);
    assert_eq!(world.server.record(&waiter)["status"], "QUEUED");
    let why = stdout(&world.server.run(&["why", &holder]));
    assert!(why.contains("is being prepared"), "{why}");
    assert_unknown(&world, &holder);
    world.server.crash();
    assert_unknown(&world, &holder);
    world.server.restart();
    world.forge.release();
    until("it has begun", || stdout(&world.server.run(&["logs", &holder])) == "begun\n");
    let why = stdout(&world.server.run(&["why", &holder]));
    assert!(why.contains("its command runs"), "{why}");
    assert_unknown(&world, &holder);
    let name = format!("runvoy-{holder}");
    let engine = world.server.engine().unwrap().to_owned();
    let mounted = ["inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", &name];
    let volumes = stdout(&crate::docker::docker(&engine, &mounted));
    assert_eq!(volumes.split_whitespace().count(), 1, "{volumes}");
    world.server.run(&["kill", &holder, "--grace", "1s"]);
    assert_eq!(world.server.ended(&waiter)["status"], "SUCCEEDED");
    assert_eq!(stdout(&world.server.run(&["logs", &waiter])), "second\n");
    assert_eq!(leaks(&world.server, &world.token), NOWHERE);
    until("the volume of the code is gone", || {
        !crate::docker::docker(&engine, &["volume", "inspect", volumes.trim()]).status.success()
    });
}

/// Fails if the token stands in anything that the engine shows of a container, or that there is of the server.
fn assert_unknown(world: &World, id: &str) {
    let (engine, name) = (world.server.engine().unwrap(), format!("runvoy-{id}"));
    let workspace = format!("{name}:/workspace");
    for args in [
        &["inspect", &name][..],
        &["top", &name],
        &["logs", &name],
        // Every file of the container's, and its code, which lies elsewhere.
        &["export", &name],
        &["cp", &workspace, "-"],
    ] {
        let told = crate::docker::docker(engine, args);
        assert!(!told.stdout.is_empty() || args[0] == "logs", "{args:?}: {}", stderr(&told));
        let token = world.token.as_bytes();
        assert!(![told.stdout, told.stderr].iter().any(|told| contains(told, token)), "{args:?}");
    }
    assert_eq!(leaks(&world.server, &world.token), NOWHERE);
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[test]
fn checkouts_take_the_proxy_that_the_server_was_started_with() {
    let repositories = Repositories::new();
    repositories.create("a", &[("README.md", "hello\n")]);
    let forge = Forge::start(repositories.root(), None);
    // "me:p@ss-word-1"
    let proxy = Proxy::start(forge.port(), "bWU6cEBzcy13b3JkLTE=");
    let through = format!("http://me:p%40ss-word-1@127.0.0.1:{}", proxy.port());
    let authority = tempfile::tempdir().unwrap();
    let bundle = authority.path().join("ca.pem");
    std::fs::write(&bundle, &forge.authority).unwrap();
    let env = [
        ("RUNVOY_CA_BUNDLE", bundle.to_str().unwrap()),
        ("HTTPS_PROXY", &through),
        ("NO_PROXY", "localhost"),
    ];
    let server = Server::start_in(&env, None);
    let run = |url: &str| server.run(&["run", "-g", url, "--", "cat README.md"]);
    let hidden = run(&format!("https://{HIDDEN_HOST}/a.git"));
    assert_eq!(stdout(&hidden), "hello\n", "{}", stderr(&hidden));
    let used = proxy.used();
    assert!(used > 0);
    let direct = run(&forge.url("a.git"));
    assert_eq!((stdout(&direct).as_str(), proxy.used()), ("hello\n", used), "{}", stderr(&direct));
}

#[test]
fn a_playbook_and_a_run_without_a_server_check_out_too() {
    let world = World::new(None);
    let (_, first, _) = world.publish("a");
    let home: &Path = world.server.dir.path();
    std::fs::create_dir_all(home.join(".runvoy")).unwrap();
    let url = world.forge.url("a.git");
    let book = format!(
        "commands: [cat main.tf]\ngit_repo: {url}\ngit_ref: old\ngit_path: live/prod\ngit_token_secret: forge\n"
    );
    std::fs::write(home.join(".runvoy/plan.yaml"), book).unwrap();
    let ran = world.server.run(&["playbook", "run", "plan"]);
    assert_eq!(stdout(&ran), "prod\n", "{}", stderr(&ran));
    assert_eq!(world.last()["git_commit"].as_str(), Some(first.as_str()));

    let public = Forge::start(world.repositories.root(), None);
    let bundle = world.authority.path().join("public.pem");
    std::fs::write(&bundle, &public.authority).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let args = ["local", "run", "--executor", "process", "-g", &public.url("a.git"), "--", "cat README.md"];
    let local = runvoy(elsewhere.path()).args(args).env("RUNVOY_CA_BUNDLE", &bundle).output().unwrap();
    assert_eq!(stdout(&local), "second\n", "{}", stderr(&local));
}
