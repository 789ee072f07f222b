//! Checkouts from a real git server.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runvoy_task::{EndReason, EndRecord, GitWorkspace, Isolation, Secret, Workspace};

use crate::log::Tmpfs;
use crate::server::proxy::Proxy;
use crate::server::repository::{self, Repositories, git};
use crate::server::{HIDDEN_HOST, Server};
use crate::task::{Agent, Log, Task, eventually, root};

const TOKEN: &str = "rvtest-Zq81xPw3LmN7";

const FILES: &[(&str, &str)] = &[
    ("README.md", "hello\n"),
    ("bin/tool.sh", "#!/bin/sh\necho tool\n"),
    ("infra/main.tf", "resource\n"),
    ("link", "-> infra/main.tf"),
    ("dangling", "-> ../../outside"),
    ("crlf.txt", "a\nb\n"),
    (".gitattributes", "crlf.txt text eol=crlf\n"),
];

fn task(command: &str, git: GitWorkspace) -> Task {
    Task::shell(command).with(|spec| spec.workspace = Some(Workspace::Git(git)))
}

/// Runs a checkout that is to fail; answers its sentence and what the log holds.
fn failure(git: GitWorkspace) -> (String, String) {
    failure_of(&task("echo ran > /dev/null", git))
}

fn failure_of(task: &Task) -> (String, String) {
    let (end, log) = task.run();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::WorkspaceFailed), "{end:?}");
    assert_eq!(phases(&end), ["prepare", "workspace"]);
    assert_eq!(end.commit, None);
    log.assert_agrees(&end);
    assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0, "nothing is left behind");
    let (sentence, said) = (end.message.unwrap(), log.stderr());
    assert!(!sentence.contains(TOKEN) && !said.contains(TOKEN), "{sentence}\n{said}");
    assert!(said.ends_with(&format!("runvoy: {sentence}\n")), "{sentence}\n{said}");
    assert_eq!(log.stdout(), "");
    (sentence, said)
}

fn phases(end: &EndRecord) -> Vec<&str> {
    end.phases.iter().map(|phase| phase.phase.as_str()).collect()
}

#[test]
fn a_private_repository_is_checked_out_by_branch_tag_and_commit() {
    let repositories = Repositories::new();
    let repository = repositories.create("a", FILES);
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "-a", "v1.0", "-m", "annotated"]);
    repository.write(&[("README.md", "second\n")]);
    let second = repository.commit("second");
    repository.write(&[("README.md", "hidden\n")]);
    let hidden = repository.commit("hidden");
    repository.publish(&second, "refs/heads/main");
    repository.publish(&first, "refs/heads/feature/x");
    repository.publish(&first, "refs/pull/7/head");
    repository.publish("light", "refs/tags/light");
    repository.publish("v1.0", "refs/tags/v1.0");
    repository.publish(&hidden, "refs/heads/gone");
    repository.hide("refs/heads/gone");

    let server = Server::start(repositories.root(), Some(TOKEN));
    for (git_ref, commit, text, head) in [
        ("main", &second, "second", "refs/heads/main"),
        ("refs/heads/main", &second, "second", "refs/heads/main"),
        ("feature/x", &first, "hello", "refs/heads/feature/x"),
        ("light", &first, "hello", "HEAD"),
        ("v1.0", &first, "hello", "HEAD"),
        ("refs/pull/7/head", &first, "hello", "HEAD"),
        ("HEAD", &second, "second", "HEAD"),
        (&first, &first, "hello", "HEAD"),
        (&second, &second, "second", "HEAD"),
        // Neither advertised nor reachable.
        (&hidden, &hidden, "hidden", "HEAD"),
    ] {
        let task = task("cat README.md; pwd", server.workspace("a.git", git_ref));
        let (end, log) = task.run();
        assert_eq!(
            (end.exit_code, end.reason),
            (Some(0), EndReason::Exited),
            "{git_ref}: {end:?} {}",
            log.stderr()
        );
        assert_eq!(end.commit.as_ref(), Some(commit), "{git_ref}");
        let work = fs::canonicalize(&task.spec.workdir).unwrap();
        assert_eq!((log.stdout(), log.stderr()), (format!("{text}\n{}\n", work.display()), String::new()));
        assert_eq!(phases(&end), ["prepare", "workspace", "command"]);
        let real = |args: &[&str]| {
            let output = git(&work).args(args).output().unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(real(&["status", "--porcelain"]), "", "{git_ref}");
        assert_eq!(real(&["rev-parse", "--symbolic-full-name", "HEAD"]).trim(), head, "{git_ref}");
        assert_eq!(real(&["rev-list", "--count", "HEAD"]).trim(), "1", "shallow");
        assert_eq!(real(&["remote", "get-url", "origin"]).trim(), server.url("a.git"));
        real(&["fsck"]);
    }
}

#[test]
fn files_are_as_git_would_write_them() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task = task(
        "bin/tool.sh; cat link; readlink dangling; od -c crlf.txt | head -n 1",
        server.workspace("a.git", "main"),
    );
    let (_, log) = task.run();
    assert_eq!(log.stdout(), "tool\nresource\n../../outside\n0000000   a  \\r  \\n   b  \\r  \\n\n");
    assert_eq!(log.stderr(), "");
}

#[test]
fn the_command_starts_in_git_path() {
    let repositories = Repositories::new();
    repositories
        .create("a", &[FILES, &[("inside", "-> infra"), ("out", "-> ../.."), ("root", "-> /")]].concat());
    let server = Server::start(repositories.root(), None);
    let at = |path: &str| {
        let mut git = server.workspace("a.git", "main");
        git.path = Some(path.to_owned());
        git
    };
    for path in ["infra", "./infra/", "inside"] {
        let (end, log) = task("cat main.tf; cat ../README.md", at(path)).run();
        assert_eq!((end.exit_code, log.stdout()), (Some(0), "resource\nhello\n".to_owned()));
    }
    for path in ["..", "infra/../..", "/etc", "out", "root", ".git"] {
        let (sentence, _) = failure(at(path));
        assert!(sentence.contains("leads out of the repository"), "{path}: {sentence}");
    }
    for path in ["nowhere", "README.md", "infra/main.tf/x"] {
        let (sentence, _) = failure(at(path));
        assert!(sentence.contains("no directory"), "{path}: {sentence}");
    }
}

#[test]
fn refusals_are_told_in_one_sentence_with_a_remedy() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), Some(TOKEN));
    let with = |path: &str, git_ref: &str, token: Option<&str>| {
        let mut git = server.workspace(path, git_ref);
        git.token = token.map(Secret::new);
        git
    };
    let absent = "0123456789012345678901234567890123456789";
    for (git, sentence, said) in [
        (
            with("a.git", "main", Some("rvtest-wrong-token")),
            "refuses the token (401)",
            "remote: who are you?",
        ),
        (with("a.git", "main", None), "give a token secret", "remote: who are you?"),
        (with("b.git", "main", Some(TOKEN)), "no such repository", "404"),
        (with("a.git", "nosuch", Some(TOKEN)), "no branch or tag `nosuch`", ""),
        (with("a.git", "refs/heads/nosuch", Some(TOKEN)), "no ref `refs/heads/nosuch`", ""),
        (with("a.git", absent, Some(TOKEN)), absent, "not our ref"),
        (with("a.git", "0123456", Some(TOKEN)), "all 40 digits", ""),
        (with("a.git", "a b", Some(TOKEN)), "`a b` is no name", ""),
        (with("page/a.git", "main", Some(TOKEN)), "not as a git server", ""),
        (with("busy/a.git", "main", Some(TOKEN)), "try again later", "remote: come back later"),
        (with("away/a.git", "main", Some(TOKEN)), "https://elsewhere.invalid", ""),
        (with("around/a.git", "main", Some(TOKEN)), "in circles", ""),
        (with("short/a.git", "main", Some(TOKEN)), "broke off in the middle of its answer; try again", ""),
    ] {
        let (told, log) = failure(git);
        assert!(told.contains(sentence), "{told}");
        assert!(log.contains(said), "{log}");
        assert!(!told.contains("rvtest-") && !log.contains("rvtest-"), "{log}");
    }
}

#[test]
fn what_a_server_says_is_told_without_control_characters_and_not_for_ever() {
    let repositories = Repositories::new();
    let server = Server::start(repositories.root(), None);
    let (sentence, said) = failure(server.workspace("rude/a.git", "main"));
    assert!(sentence.len() <= 1024 && !sentence.contains(char::is_control), "{sentence:?}");
    assert!(sentence.starts_with("the repository could not be fetched from localhost"), "{sentence}");
    assert!(said.contains("\x01\x01"), "the log has it as it came");
}

#[test]
fn servers_that_cannot_be_reached_or_trusted_are_told() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let mut unknown = server.workspace("a.git", "main");
    unknown.url = "https://nosuch.invalid/a.git".to_owned();
    let mut untrusted = server.workspace("a.git", "main");
    untrusted.network.ca_bundle = None;
    let mut other_name = server.workspace("a.git", "main");
    other_name.url = other_name.url.replace("localhost", "127.0.0.1");
    let mut nobody = server.workspace("a.git", "main");
    // Bound and closed again: nobody listens there now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    nobody.url = format!("https://localhost:{port}/a.git");
    let mut broken = server.workspace("a.git", "main");
    broken.network.ca_bundle = Some("no certificate".to_owned());
    for (git, word) in [
        (unknown, "the host nosuch.invalid is not known"),
        (untrusted, "RUNVOY_CA_BUNDLE"),
        (other_name, "certificate"),
        (nobody, "cannot be reached"),
        (broken, "RUNVOY_CA_BUNDLE"),
    ] {
        let (sentence, _) = failure(git);
        assert!(sentence.contains(word), "{sentence}");
    }
}

#[test]
fn addresses_that_are_not_https_are_refused() {
    for (url, token, word) in [
        ("git@github.com:a/b.git", None, "SSH"),
        ("https://me:rvtest-in-url@localhost/a.git", None, "user name or password"),
        ("http://localhost/a.git", Some(TOKEN), "http://"),
    ] {
        let mut git = GitWorkspace::new(url);
        git.token = token.map(Secret::new);
        let (sentence, said) = failure(git);
        assert!(sentence.contains(word), "{sentence}");
        assert!(!said.contains("rvtest-"), "{said}");
    }
}

#[test]
fn a_move_within_the_server_is_followed() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), Some(TOKEN));
    let (end, log) = task("cat README.md", server.workspace("moved/a.git", "main")).run();
    assert_eq!((end.exit_code, log.stdout()), (Some(0), "hello\n".to_owned()), "{end:?}");
}

#[test]
fn a_proxy_is_used_for_all_but_the_exceptions_and_its_password_is_masked() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), Some(TOKEN));
    // "me:p@ss-word-1"
    let proxy = Proxy::start(server.port(), "bWU6cEBzcy13b3JkLTE=");
    let through = |url: String, password: &str| {
        let mut git = server.workspace("a.git", "main");
        git.url = url;
        git.network.https_proxy =
            Some(Secret::new(format!("http://me:{password}@127.0.0.1:{}", proxy.port())));
        git
    };
    let hidden = format!("https://{HIDDEN_HOST}/a.git");
    let command = "cat README.md; echo p@ss-word-1 p%40ss-word-1";
    let (end, log) = task(command, through(hidden.clone(), "p%40ss-word-1")).run();
    assert_eq!((end.exit_code, log.stdout()), (Some(0), "hello\n*** ***\n".to_owned()), "{end:?}");
    let used = proxy.used();
    assert!(used > 0);

    let mut direct = through(server.url("a.git"), "p%40ss-word-1");
    direct.network.no_proxy = Some("example.com,localhost".to_owned());
    assert_eq!(task("true", direct).run().0.exit_code, Some(0));
    assert_eq!(proxy.used(), used);

    let (sentence, said) = failure(through(hidden, "wrong-password"));
    assert!(sentence.contains("proxy"), "{sentence}");
    assert!(!said.contains("wrong-password"), "{said}");
}

#[test]
fn submodules_and_lfs_are_refused_in_words() {
    let repositories = Repositories::new();
    let repository = repositories.create("a", FILES);
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "0".repeat(64));
    repository.write(&[("assets/.gitattributes", "*.bin filter=lfs diff=lfs\n"), ("assets/x.bin", &pointer)]);
    let lfs = repository.commit("lfs");
    repository.git(&["checkout", "--quiet", "-b", "sub", "HEAD~"]);
    repository.git(&["update-index", "--add", "--cacheinfo", "160000", &lfs, "vendor/lib"]);
    repository.git(&["commit", "--quiet", "-m", "submodule"]);
    let submodule = repository.git(&["rev-parse", "HEAD"]);
    repository.publish(&lfs, "refs/heads/lfs");
    repository.publish(&submodule, "refs/heads/sub");
    let server = Server::start(repositories.root(), None);
    let (sentence, _) = failure(server.workspace("a.git", "sub"));
    assert!(sentence.contains("submodule at `vendor/lib`"), "{sentence}");
    let (sentence, _) = failure(server.workspace("a.git", "lfs"));
    assert!(sentence.contains("`assets/x.bin`") && sentence.contains("Git LFS"), "{sentence}");
    for branch in ["sub", "lfs"] {
        let mut git = server.workspace("a.git", branch);
        git.path = Some("infra".to_owned());
        assert_eq!(
            task("cat main.tf", git).run().0.exit_code,
            Some(0),
            "elsewhere they are nobody's concern"
        );
    }
}

#[test]
fn hostile_trees_write_nothing_outside_the_workspace() {
    let repositories = Repositories::new();
    let repository = repositories.create("a", FILES);
    let outside = tempfile::tempdir().unwrap();
    let (evil, link) = (repository.blob("evil\n"), repository.blob(outside.path().to_str().unwrap()));
    let dir = repository.raw_tree(&[("100644", "config", &evil)]);
    let trees = [
        repository.raw_tree(&[("40000", ".git", &dir)]),
        repository.raw_tree(&[("40000", ".GIT", &dir)]),
        repository.raw_tree(&[("40000", "..", &dir)]),
        repository.raw_tree(&[("40000", ".", &dir)]),
        repository.raw_tree(&[("100644", "../config", &evil)]),
        repository.raw_tree(&[("100644", "a/../../config", &evil)]),
        // Through a link of the tree's own.
        repository.raw_tree(&[("120000", "a", &link), ("40000", "a", &dir)]),
        repository.raw_tree(&[("40000", "a", &dir), ("120000", "a", &link)]),
        repository.raw_tree(&[("120000", "a", &link), ("100644", "a/config", &evil)]),
    ];
    let server = Server::start(repositories.root(), None);
    for (at, tree) in trees.iter().enumerate() {
        let commit = repository.git(&["commit-tree", tree, "-m", "hostile"]);
        let name = format!("refs/heads/hostile-{at}");
        repository.publish(&commit, &name);
        let task = task("cat .git/config", server.workspace("a.git", &name));
        let (end, log) = task.run();
        assert!(
            end.reason == EndReason::WorkspaceFailed || !log.stdout().contains("evil"),
            "{at}: {end:?} {}",
            log.stdout()
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{at}");
        let beside: Vec<_> =
            fs::read_dir(task.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 2, "{at}: {beside:?}");
    }
}

#[test]
fn the_token_is_nowhere_while_it_is_used_and_afterwards() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), Some(TOKEN));
    let task = task(
        "env; cat .git/config; grep -r rvtest . ; tr '\\0' '\\n' < /proc/$PPID/environ; echo done",
        server.workspace("slow/a.git", "main"),
    );
    let mut agent = task.start();
    eventually("a request that waits", || (server.held() > 0).then_some(()));
    assert_token_is_nowhere(&task);
    server.release();
    let end = agent.end();
    assert_eq!(end.exit_code, Some(0), "{end:?}");
    assert!(task.log().stdout().ends_with("done\n"));
    assert_token_is_nowhere(&task);
    assert_eq!(end.replacements, 0, "there was nothing to mask");
}

/// Looks at every process's arguments and environment, and at every file of the task.
fn assert_token_is_nowhere(task: &Task) {
    use base64::Engine as _;

    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let holds = |bytes: &[u8]| {
        [TOKEN, &encoded].iter().any(|token| memchr::memmem::find(bytes, token.as_bytes()).is_some())
    };
    let mut looked_at = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let Ok(bytes) = fs::read(process.path().join(name)) else { continue };
            assert!(!holds(&bytes), "{:?} {name}", process.path());
            looked_at += 1;
        }
    }
    assert!(looked_at > 4);
    let mut dirs = vec![task.root().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => {
                    assert!(!holds(&fs::read(entry.path()).unwrap_or_default()), "{:?}", entry.path());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_token_in_the_output_is_masked_though_nobody_listed_it() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), Some(TOKEN));
    let command = format!("echo {TOKEN}; printf x-access-token:{TOKEN} | base64");
    let (end, log) = task(&command, server.workspace("a.git", "main")).run();
    assert!(!log.stdout().contains("rvtest") && log.stdout().starts_with("***\n"), "{}", log.stdout());
    assert_eq!(end.replacements, 2);
}

#[test]
fn a_stop_ends_a_slow_checkout_at_once() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task = task("echo ran", server.workspace("slow/a.git", "main"));
    let mut agent = task.start();
    eventually("a request that waits", || (server.held() > 0).then_some(()));
    agent.stop(None);
    let end = agent.end();
    assert_eq!((end.exit_code, end.reason, end.events), (None, EndReason::Stopped, 0));
    assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0);
}

/// An agent whose checkout waits for its server.
fn waiting_checkout(repositories: &Repositories) -> (Task, Agent, Server) {
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task = task("echo ran", server.workspace("slow/a.git", "main"))
        .with(|spec| spec.isolation = Isolation::Subreaper);
    let agent = task.start();
    eventually("a request that waits", || (server.held() > 0).then_some(()));
    (task, agent, server)
}

/// The supervisor's process, and that of the checkout.
fn stage_of(agent: &Agent) -> (i32, i32) {
    let child = |pid: i32| -> i32 {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().unwrap()
    };
    let supervisor = child(agent.pid().as_raw());
    let checkout = child(supervisor);
    assert!(fs::read_to_string(format!("/proc/{checkout}/cmdline")).unwrap().contains("checkout"));
    (supervisor, checkout)
}

/// An answer without an end takes many seconds to fill the memory; so the limit is looked at, and its effect is brought about.
#[test]
fn a_checkout_has_its_own_limit_of_memory_and_what_dies_of_it_is_told_with_a_remedy() {
    let repositories = Repositories::new();
    let (task, mut agent, _server) = waiting_checkout(&repositories);
    let (_, checkout) = stage_of(&agent);
    let limits = fs::read_to_string(format!("/proc/{checkout}/limits")).unwrap();
    let data = limits.lines().find_map(|line| line.strip_prefix("Max data size")).unwrap();
    assert_eq!(data.split_whitespace().take(2).collect::<Vec<_>>(), ["2147483648"; 2]);
    kill(Pid::from_raw(checkout), Signal::SIGABRT).unwrap();
    let end = agent.end();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::WorkspaceFailed), "{end:?}");
    let sentence = end.message.unwrap();
    assert!(sentence.contains("2 GiB of memory; check the address"), "{sentence}");
    assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0, "nothing is left behind");
}

/// Both halves of the agent at once, so that nobody is left to kill it.
#[test]
fn a_checkout_does_not_outlive_the_agent() {
    let repositories = Repositories::new();
    let (_task, mut agent, _server) = waiting_checkout(&repositories);
    let (supervisor, checkout) = stage_of(&agent);
    agent.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    agent.signal(Signal::SIGKILL);
    agent.exit();
    let is_gone = || {
        let stat = fs::read_to_string(format!("/proc/{checkout}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    eventually("the checkout's end", is_gone);
}

#[test]
fn a_checkout_that_takes_too_long_is_given_up() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task =
        task("echo ran", server.workspace("slow/a.git", "main")).with(|spec| spec.workspace_timeout_ms = 700);
    let (end, _) = task.run();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::WorkspaceFailed));
    assert!(end.message.as_ref().unwrap().contains("not ready after 1 s"), "{end:?}");
    assert_eq!(fs::read_dir(&task.spec.workdir).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_also_when_the_log_is_on_it() {
    let repositories = Repositories::new();
    let mut noise = vec![0_u8; 3_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let text: String = noise.iter().map(|byte| char::from(byte % 64 + 32)).collect();
    repositories.create("a", &[("large", &text)]);
    let server = Server::start(repositories.root(), None);
    for shared in [false, true] {
        let task = task("echo ran", server.workspace("a.git", "main"));
        let mounted = if shared { task.root().to_owned() } else { task.spec.workdir.clone() };
        let Some(_tmpfs) = Tmpfs::mount(&mounted) else { return };
        fs::create_dir_all(&task.dir).unwrap();
        fs::create_dir_all(&task.spec.workdir).unwrap();
        let (sentence, _) = failure_of(&task);
        assert!(sentence.contains("disk is full"), "{sentence}");
    }
}

#[test]
fn a_checkout_belongs_to_whom_the_command_runs_as() {
    if !root() {
        return;
    }
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task = task("id -u; echo new > new; cat README.md", server.workspace("a.git", "main")).unprivileged();
    let (end, log) = task.run();
    assert_eq!((end.exit_code, log.stdout()), (Some(0), "65534\nhello\n".to_owned()), "{end:?}");
    for name in ["README.md", ".git/config", "infra"] {
        assert_eq!(fs::metadata(task.work(name)).unwrap().uid(), 65534, "{name}");
    }
}

#[test]
fn variables_are_repeated_in_a_file_unless_the_workspace_brings_one() {
    let repositories = Repositories::new();
    let repository = repositories.create("a", FILES);
    repository.write(&[("infra/.env", "mine\n"), ("a [b]*/file", "text\n")]);
    let own = repository.commit("own");
    repository.publish(&own, "refs/heads/own");
    let server = Server::start(repositories.root(), None);
    let run = |git: Option<GitWorkspace>| {
        let task = Task::shell("cat .env; ls -l .env | cut -c 1-10").with(|spec| {
            spec.workspace = git.map(Workspace::Git);
            spec.env.insert("WHO".into(), "the caller".into());
            spec.env.insert("SECRET".into(), "hidden".into());
            spec.dotenv = ["WHO", "ABSENT"].map(str::to_owned).into();
        });
        let said = task.run().1.stdout();
        if task.spec.workspace.is_some() {
            let status =
                repository::git(&task.spec.workdir).args(["status", "--porcelain"]).output().unwrap();
            assert_eq!((status.status.code(), status.stdout), (Some(0), Vec::new()), "it is nobody's change");
        }
        said
    };
    assert_eq!(run(None), "WHO='the caller'\n-rw-------\n");
    let mut git = server.workspace("a.git", "own");
    assert_eq!(run(Some(git.clone())), "WHO='the caller'\n-rw-------\n");
    git.path = Some("a [b]*".to_owned());
    assert_eq!(run(Some(git.clone())), "WHO='the caller'\n-rw-------\n");
    git.path = Some("infra".to_owned());
    assert_eq!(run(Some(git)), "mine\n-rw-r--r--\n");
}

#[test]
fn a_workspace_directory_that_is_not_empty_is_left_alone() {
    let repositories = Repositories::new();
    repositories.create("a", FILES);
    let server = Server::start(repositories.root(), None);
    let task = task("echo ran", server.workspace("a.git", "main"));
    fs::write(task.work("mine"), "mine").unwrap();
    let (end, log) = task.run();
    assert_eq!(end.reason, EndReason::WorkspaceFailed);
    log.assert_agrees(&end);
    let sentence = end.message.unwrap();
    assert!(sentence.contains("not empty") && sentence.contains("take an image"), "{sentence}");
    assert_eq!(log.stderr(), format!("runvoy: {sentence}\n"));
    assert_eq!(fs::read_to_string(task.work("mine")).unwrap(), "mine");
    let missing =
        self::task("pwd", server.workspace("a.git", "main")).with(|spec| spec.workdir.push("made/here"));
    let (end, log) = missing.run();
    assert_eq!(end.exit_code, Some(0));
    assert!(log.stdout().ends_with("made/here\n"));
    let _ = Log::read(&missing.dir);
}
