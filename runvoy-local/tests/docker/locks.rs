//! A whole server over an engine that restarts: who holds a lock gives it up, and the next in line runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runvoy_core::api::{Command, MannerRequest, RegisterImageRequest, RunRequest};
use runvoy_core::execution::Execution;
use runvoy_core::id::IdPrefix;
use runvoy_core::key::ApiKey;
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Caller, Config, RequestContext};
use runvoy_local::{DataDir, ExecutorChoice, Guest, Local, LocalConfig};
use runvoy_task::Network;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::restart::Engine;
use crate::support::{BUSYBOX, PATIENCE, agent, remove_all};

/// A server with a data directory of its own, and an admin.
pub(crate) struct Server {
    pub(crate) local: Local,
    caller: Caller,
    dir: Data,
}

impl Server {
    pub(crate) async fn start(docker_host: String) -> Self {
        let dir = TempDir::new().unwrap();
        let key = ApiKey::generate();
        let guest = Guest { email: "admin@localhost".parse().unwrap(), key: key.clone() };
        let config = LocalConfig {
            executor: ExecutorChoice::Docker,
            docker_host: Some(docker_host),
            agent: agent(),
            base_env: BTreeMap::new(),
            run_as: None,
            max_processes: None,
            network: Network::default(),
            service: Config::default(),
            guest: Some(guest),
            reconcile_every: Duration::from_millis(500),
            master_key: None,
            policies: None,
            server_log: None,
        };
        let local = Local::start(DataDir::open(dir.path()).unwrap(), config).await.unwrap();
        let caller =
            local.runvoy().authenticate(Some(key.reveal()), RequestContext::internal()).await.unwrap();
        let manner = MannerRequest { networks: Some(vec!["none".to_owned()]), ..MannerRequest::default() };
        let image =
            RegisterImageRequest { image: BUSYBOX.to_owned(), manner, ..RegisterImageRequest::default() };
        local.runvoy().register_image(&caller, &image).await.unwrap();
        Self { local, caller, dir: Data(dir) }
    }

    /// Runs a command under the lock, in line for it.
    pub(crate) async fn run(&self, command: &str) -> Execution {
        let request = RunRequest {
            lock: Some("prod".to_owned()),
            on_lock_held: Some("queue".to_owned()),
            ..RunRequest::new(Command::Shell(command.to_owned()))
        };
        self.local.runvoy().run(&self.caller, request, None).await.unwrap()
    }

    /// Waits until nobody holds a lock: an end is written first, then its lock is released.
    async fn until_free(&self) {
        let since = Instant::now();
        loop {
            let locks = self.local.runvoy().locks(&self.caller).await.unwrap();
            if locks.iter().all(|view| view.lock.holder.is_none()) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{locks:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks for the end of it, now.
    pub(crate) async fn kill(&self, execution: &Execution) {
        let id = execution.id.to_string().parse::<IdPrefix>().unwrap();
        self.local.runvoy().kill(&self.caller, &id, Some(Duration::ZERO)).await.unwrap();
    }

    /// Where executions have their directories.
    pub(crate) fn executions(&self) -> PathBuf {
        self.dir.0.path().join("executions")
    }

    pub(crate) async fn until(&self, execution: &Execution, holds: impl Fn(Status) -> bool) -> Execution {
        let (id, since) = (execution.id.to_string().parse::<IdPrefix>().unwrap(), Instant::now());
        loop {
            let record = self.local.runvoy().execution(&self.caller, &id).await.unwrap();
            if holds(record.status) {
                return record;
            }
            assert!(since.elapsed() < PATIENCE, "{} stays {}", record.id, record.status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A data directory. A test that fails leaves no containers of it behind; those of an engine of its own go with that.
struct Data(TempDir);

impl Drop for Data {
    fn drop(&mut self) {
        remove_all(&self.0.path().join("executions"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_and_comes_back_leaves_no_lock_held() {
    for flags in [&[][..], &["--live-restore"]] {
        let Some(mut engine) = Engine::new(flags) else { return };
        let server = Server::start(engine.host()).await;
        let first = server.run("sleep 2; exit 5").await;
        let second = server.run("exit 6").await;
        server.until(&first, |status| status == Status::Running).await;
        assert_eq!(server.until(&second, |_| true).await.status, Status::Queued);
        engine.must_run(first.id);
        engine.end(Signal::KILL);
        engine.start();
        let first = server.until(&first, Status::is_terminal).await;
        if flags.is_empty() {
            assert!(matches!(first.status_reason, Some(Reason::Lost | Reason::StoppedOutside)), "{first:?}");
        } else {
            assert_eq!((first.status_reason, first.exit_code), (Some(Reason::Exited), Some(5)));
        }
        let second = server.until(&second, Status::is_terminal).await;
        assert_eq!((second.status_reason, second.exit_code), (Some(Reason::Exited), Some(6)));
        server.until_free().await;
        server.local.stop().await;
    }
}
