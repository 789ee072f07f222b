//! The code that a command starts in: what is accepted, what a task is told of it, and what stays in the record.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use runvoy_core::api::{Command, CreateSecretRequest, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::Clock as _;
use runvoy_core::code::{Code, CodeDigest, CodeHasher, GitCode, UploadedCode};
use runvoy_core::port::{
    AuditKind, AuditLog as _, CodeStore as _, ExecutionStore as _, TaskEvent, TaskExit, TaskState,
    TaskWorkspace,
};
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Error, IdempotencyKey, ReconcileOptions};
use runvoy_task::{EndReason, GitWorkspace, Secret};

use super::service::Bench;

const REPO: &str = "https://git.acme.test/infra.git";
const TOKEN: &str = "hunter22-token";

fn request() -> RunRequest {
    RunRequest { git_repo: Some(REPO.to_owned()), ..RunRequest::new(Command::Shell("make".to_owned())) }
}

fn private() -> RunRequest {
    RunRequest { git_token_secret: Some("forge".to_owned()), ..request() }
}

async fn keep(bench: &Bench, name: &str, value: &str) {
    let (name, key_name, value) = (name.to_owned(), "FORGE_TOKEN".to_owned(), value.to_owned());
    let secret = CreateSecretRequest { name, key_name, value, description: None };
    bench.runvoy.create_secret(&bench.caller, &secret).await.unwrap();
}

async fn refused(bench: &Bench, request: RunRequest) -> (&'static str, String) {
    match bench.runvoy.run(&bench.caller, request, None).await.unwrap_err() {
        Error::Invalid { field, message } => (field, message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_task_is_told_what_to_check_out_and_the_record_keeps_it() {
    let bench = Bench::new().await;
    let whole =
        RunRequest { git_ref: Some("v1.0".to_owned()), git_path: Some("live/prod".to_owned()), ..request() };
    for (request, git_ref, path) in
        [(whole, "v1.0", Some("live/prod")), (request(), "main", None), (empty_fields(), "main", None)]
    {
        let id = bench.runvoy.run(&bench.caller, request, None).await.unwrap().id;
        let path = path.map(str::to_owned);
        let told =
            GitWorkspace { git_ref: git_ref.to_owned(), path: path.clone(), ..GitWorkspace::new(REPO) };
        assert_eq!(bench.world.job(id).workspace, Some(TaskWorkspace::Git(told)));
        let (repo, git_ref) = (REPO.to_owned(), git_ref.to_owned());
        let kept = GitCode { repo, git_ref, path, token: None, commit: None };
        assert_eq!(bench.record(id).await.code, Some(Code::Git(kept)));
    }
    let plain = bench.run().await.id;
    assert_eq!((bench.world.job(plain).workspace, bench.record(plain).await.code), (None, None));
}

fn empty_fields() -> RunRequest {
    let empty = || Some(String::new());
    RunRequest { git_ref: empty(), git_path: empty(), git_token_secret: empty(), ..request() }
}

#[tokio::test]
async fn what_cannot_be_checked_out_is_refused_by_name_and_has_no_effect() {
    let bench = Bench::new().await;
    keep(&bench, "forge", TOKEN).await;
    let repo = |url: &str| RunRequest { git_repo: Some(url.to_owned()), ..request() };
    let git_ref = |name: &str| RunRequest { git_ref: Some(name.to_owned()), ..request() };
    let path = |path: &str| RunRequest { git_path: Some(path.to_owned()), ..request() };
    let token = |name: &str| RunRequest { git_token_secret: Some(name.to_owned()), ..request() };
    let http = RunRequest { git_repo: Some("http://git.acme.test/a.git".to_owned()), ..request() };
    let alone = RunRequest { git_repo: None, ..private() };
    for (request, field, word) in [
        (repo("git@git.acme.test:a.git"), "git_repo", "use the https:// URL, with a token"),
        (repo("ssh://git@git.acme.test/a.git"), "git_repo", "SSH"),
        (repo("https://me:hunter22@git.acme.test/a.git"), "git_repo", "give the token as a secret"),
        (repo("file:///srv/a.git"), "git_repo", "upload the directory"),
        (repo(&format!("https://a/{}", "a".repeat(2048))), "git_repo", "2048 bytes"),
        (http, "git_repo", "where anybody on the way can change the code"),
        (git_ref("a b"), "git_ref", "branch, a tag or a commit"),
        (git_ref("--upload-pack=x"), "git_ref", "branch"),
        (git_ref(&"a".repeat(256)), "git_ref", "at most 255 bytes"),
        (path("../other"), "git_path", "a directory in the repository"),
        (path("/etc"), "git_path", "a directory in the repository"),
        (path(&"a".repeat(1025)), "git_path", "at most 1024 bytes"),
        (token("none"), "git_token_secret", "there is no secret `none`"),
        (token("a b"), "git_token_secret", "a secret's name"),
        (alone, "git_token_secret", "none is named in `git_repo`"),
    ] {
        let (found, message) = refused(&bench, request).await;
        assert!(found == field && message.contains(word), "{found}: {message}");
        assert!(!message.contains("hunter22"));
    }
    assert_eq!(bench.world.ids(), []);
}

#[tokio::test]
async fn a_token_goes_into_the_checkout_alone_and_is_a_use_of_its_secret() {
    let bench = Bench::new().await;
    keep(&bench, "forge", &format!("{TOKEN}\n")).await;
    let id = bench.runvoy.run(&bench.caller, private(), None).await.unwrap().id;
    let job = bench.world.job(id);
    let Some(TaskWorkspace::Git(git)) = job.workspace else { panic!("{:?}", job.workspace) };
    assert_eq!(git.token.as_ref().map(Secret::expose), Some(TOKEN), "without the end of its line");
    let (variables, mask) = job.given.last().unwrap();
    assert!(variables.is_empty(), "{variables:?}");
    assert!(mask.contains(&format!("{TOKEN}\n")), "masked");
    let record = bench.record(id).await;
    let uses: Vec<_> = record.secrets.iter().map(|used| (used.name.as_str(), used.version)).collect();
    assert_eq!(uses, [("forge", Some(1))]);
    assert!(!format!("{record:?}{:?}", bench.executions.request(id).await).contains("hunter22"));
    let events = bench.audit.read(0, usize::MAX).await.unwrap();
    let mut events = events.iter().map(|event| event.event().unwrap());
    let event = events.find(|event| event.action == "use_secret").unwrap();
    assert_eq!((event.kind, event.resource.as_str()), (AuditKind::Allowed, "secret:forge"));

    // Named in both places it is both.
    let both = RunRequest { secrets: vec!["forge".to_owned()], ..private() };
    let id = bench.runvoy.run(&bench.caller, both, None).await.unwrap().id;
    let job = bench.world.job(id);
    assert!(matches!(job.workspace, Some(TaskWorkspace::Git(git)) if git.token.is_some()));
    assert_eq!(job.given.last().unwrap().0["FORGE_TOKEN"].reveal(), format!("{TOKEN}\n"));
}

#[tokio::test]
async fn a_secret_of_the_same_variable_is_not_in_the_way_of_a_token() {
    let bench = Bench::new().await;
    keep(&bench, "forge", TOKEN).await;
    keep(&bench, "other", "other value").await;
    let request = RunRequest { secrets: vec!["other".to_owned()], ..private() };
    let id = bench.runvoy.run(&bench.caller, request, None).await.unwrap().id;
    let variables = bench.world.job(id).given.pop().unwrap().0;
    assert_eq!(variables["FORGE_TOKEN"].reveal(), "other value");
}

#[tokio::test]
async fn the_commit_that_was_checked_out_stands_in_the_record() {
    let bench = Bench::new().await;
    let id = bench.runvoy.run(&bench.caller, request(), None).await.unwrap().id;
    let (now, commit) = (bench.clock.now(), "0123456789abcdef0123456789abcdef01234567");
    let exit = TaskExit {
        exit_code: Some(0),
        reason: EndReason::Exited,
        message: None,
        started_at: now,
        finished_at: now,
        log: None,
        image_digest: None,
        commit: Some(commit.to_owned()),
        phases: Vec::new(),
    };
    let event = TaskEvent { id, state: TaskState::Exited(Box::new(exit)) };
    bench.runvoy.on_task_event(&event).await.unwrap();
    let record = bench.record(id).await;
    assert_eq!(record.code.unwrap().git().unwrap().commit.as_deref(), Some(commit));
}

#[tokio::test]
async fn a_run_on_other_code_is_another_request() {
    let bench = Bench::new().await;
    let key = || "once".parse::<IdempotencyKey>().ok();
    let first = bench.runvoy.run(&bench.caller, request(), key()).await.unwrap().id;
    assert_eq!(bench.runvoy.run(&bench.caller, request(), key()).await.unwrap().id, first);
    let other = RunRequest { git_ref: Some("v2".to_owned()), ..request() };
    let error = bench.runvoy.run(&bench.caller, other, key()).await.unwrap_err();
    assert!(matches!(error, Error::IdempotencyConflict), "{error}");
}

#[tokio::test]
async fn policies_decide_by_the_repository_also_when_a_turn_comes() {
    let policy = r#"forbid (principal, action == Action::"run", resource)
        when { context has git_repo } unless { context.git_repo like "https://git.acme.test/*" };"#;
    let authorizer = CedarAuthorizer::with_policies(&[("acme.cedar", policy)]).unwrap();
    let bench = Bench::with_authorizer(Arc::new(authorizer)).await;
    let elsewhere = RunRequest { git_repo: Some("https://evil.test/a.git".to_owned()), ..request() };
    let error = bench.runvoy.run(&bench.caller, elsewhere, None).await.unwrap_err();
    assert!(matches!(error, Error::Denied { by_content: true, .. }), "{error}");
    let locked =
        || RunRequest { lock: Some("prod".to_owned()), on_lock_held: Some("queue".to_owned()), ..request() };
    let holder = bench.runvoy.run(&bench.caller, locked(), None).await.unwrap().id;
    let waiter = bench.runvoy.run(&bench.caller, locked(), None).await.unwrap();
    assert_eq!(waiter.status, Status::Queued);
    bench.world.claim(holder);
    bench.world.exit(holder, 0);
    bench.pass().await;
    assert_eq!(
        bench.record(waiter.id).await.status,
        Status::Starting,
        "it is asked about the same repository"
    );
    assert!(bench.world.job(waiter.id).workspace.is_some());
}

#[tokio::test]
async fn an_executor_without_workspaces_is_not_asked_for_one() {
    let bench = Bench::new().await;
    bench.world.set_bare();
    let (field, message) = refused(&bench, request()).await;
    assert_eq!((field, message.as_str()), ("git_repo", "this server's executor checks no code out"));
    let record = bench.run().await;
    assert_ne!(record.status_reason, Some(Reason::StartFailed));
}

/// Uploads some code; what names it.
async fn upload(bench: &Bench, bytes: &'static [u8]) -> CodeDigest {
    let mut hasher = CodeHasher::default();
    hasher.update(bytes);
    let digest = hasher.finish();
    let body = stream::iter([Ok(bytes::Bytes::from_static(bytes))]).boxed();
    bench.runvoy.upload_code(&bench.caller, &digest.to_string(), None, body).await.unwrap();
    digest
}

fn on(code: CodeDigest) -> RunRequest {
    RunRequest { code: Some(code.to_string()), ..RunRequest::new(Command::Shell("make".to_owned())) }
}

#[tokio::test]
async fn a_task_is_told_which_upload_to_unpack_and_the_record_keeps_it() {
    let bench = Bench::new().await;
    let digest = upload(&bench, b"an archive").await;
    let id = bench.runvoy.run(&bench.caller, on(digest), None).await.unwrap().id;
    let told = TaskWorkspace::Upload { sha256: digest.to_string(), size: 10 };
    assert_eq!(bench.world.job(id).workspace, Some(told));
    assert_eq!(bench.record(id).await.code, Some(Code::Upload(UploadedCode { digest, size: 10 })));
    let (field, message) =
        refused(&bench, RunRequest { git_repo: Some(REPO.to_owned()), ..on(digest) }).await;
    assert_eq!((field, message.as_str()), ("code", "give `code` or `git_repo`, not both"));
}

#[tokio::test]
async fn code_is_kept_while_somebody_may_need_it_and_goes_when_nobody_has_for_long() {
    let bench = Bench::new().await;
    let (used, unused) = (upload(&bench, b"used").await, upload(&bench, b"unused").await);
    let days = |days: u64| Duration::from_hours(24 * days);
    bench.clock.advance(days(10));
    bench.runvoy.run(&bench.caller, on(used), None).await.unwrap();
    bench.clock.advance(days(5));
    let tending = tokio::spawn(bench.runvoy.clone().tend(days(1), ReconcileOptions::default()));
    let gone = async {
        while bench.code.read(unused).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert!(bench.code.read(used).is_some());
    tending.abort();
    assert!(refused(&bench, on(unused)).await.1.contains("upload it again"));
}

#[tokio::test]
async fn code_that_is_gone_when_a_turn_comes_ends_the_start_in_words() {
    let bench = Bench::new().await;
    let digest = upload(&bench, b"an archive").await;
    let locked = |request: RunRequest| RunRequest {
        lock: Some("prod".to_owned()),
        on_lock_held: Some("queue".to_owned()),
        ..request
    };
    let plain = RunRequest::new(Command::Shell("make".to_owned()));
    let holder = bench.runvoy.run(&bench.caller, locked(plain), None).await.unwrap().id;
    let waiter = bench.runvoy.run(&bench.caller, locked(on(digest)), None).await.unwrap().id;
    assert_eq!(bench.code.remove_unused(Timestamp::MAX).await.unwrap(), [digest], "by an admin, say");
    bench.world.claim(holder);
    bench.world.exit(holder, 0);
    bench.pass().await;
    let record = bench.record(waiter).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::StartFailed)));
    assert!(record.status_detail.unwrap().contains("upload it again"));
    assert!(bench.world.job(waiter).given.is_empty());
}
