//! The real service and stores, whose executor runs nothing: so that they are what is measured.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::{Email, ExecutionId, RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{
    Capabilities, Claim, Created, Executor, ExecutorError, StartTask, StoreError, TaskEvent, TaskExit,
    TaskState, User,
};
use runvoy_core::{Config, Rate, Rates, ReconcileOptions, Runvoy, http};
use runvoy_local::memory::MemoryLogs;
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use runvoy_local::{DataDir, ServeLimits, serve};
use runvoy_task::{CommandLine, EndReason};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::policies::own_policies;
use crate::sample::{self, EMAIL};
use crate::server::Noop;
use crate::{KEY, Result};

/// Records on their way into the store at once.
const AT_ONCE: usize = 512;

/// Accepts every task and does nothing about it, save that `true` may end at once.
struct Tasks {
    runs_true: bool,
    ended: mpsc::UnboundedSender<TaskEvent>,
    events: Mutex<Option<mpsc::UnboundedReceiver<TaskEvent>>>,
}

impl Tasks {
    fn new(runs_true: bool) -> Self {
        let (ended, events) = mpsc::unbounded_channel();
        Self { runs_true, ended, events: Mutex::new(Some(events)) }
    }
}

#[async_trait]
impl Executor for Tasks {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        if self.runs_true && task.request.command == CommandLine::Shell("true".to_owned()) {
            let now = SystemClock.now();
            let exit = TaskExit::new(Some(0), EndReason::Exited, now, now);
            // Nobody listens where nothing is to be heard.
            let _ = self.ended.send(TaskEvent { id: task.id, state: TaskState::Exited(Box::new(exit)) });
        }
        Ok(None)
    }

    async fn revoke(&self, _id: ExecutionId) -> Result<Claim, ExecutorError> {
        Ok(Claim::Revoked)
    }

    async fn stop(&self, _id: ExecutionId, _grace: Option<Duration>) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        Ok(vec![TaskState::Unknown; ids.len()])
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        let events = self.events.lock().ok().and_then(|mut events| events.take());
        let next = async |events: Option<mpsc::UnboundedReceiver<TaskEvent>>| {
            let mut events = events?;
            Some((events.recv().await?, Some(events)))
        };
        stream::unfold(events, next).chain(stream::pending()).boxed()
    }
}

fn open(dir: &DataDir) -> Result<SqliteStores> {
    let master_key = MasterKey::load_or_create(&dir.master_key())?;
    Ok(SqliteStores::open(SqliteConfig { path: dir.database(), master_key })?)
}

/// Serves a data directory until standard input ends. Says where on standard output.
pub(crate) fn run(path: &Path, noop: &Noop) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let dir = DataDir::open(path)?;
        let stores = open(&dir)?;
        let request = RequestId::random();
        // Not an admin: whose execution it is has to be looked at.
        let user = User::new(EMAIL.parse()?, Role::Developer, SystemClock.now(), request);
        match stores.key_store().insert(user, ApiKey::parse(KEY)?.hash()).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // One key asks for all of it here; what the limits cost is measured too.
        let rates = Rates { per_key: Rate::per_second(10_000_000), ..Rates::default() };
        let own = own_policies(noop.policies);
        let authorizer = CedarAuthorizer::with_policies(&[("own.cedar", &own)])?;
        let runvoy = Runvoy::builder()
            .keys(stores.key_store())
            .executions(stores.execution_store())
            .locks(stores.lock_manager())
            .audit(stores.audit_log())
            .intake(stores.intake())
            .executor(Arc::new(Tasks::new(noop.runs_true)))
            .logs(Arc::new(MemoryLogs::new(Arc::new(SystemClock))))
            .authorizer(Arc::new(authorizer))
            .config(Config { max_live: None, queue_depth: 1000, rates, ..Config::default() })
            .build()?;
        // Nothing else ever ends, so there is nothing to tend. Owned by the runtime, which ends with the server.
        let _tending = noop
            .runs_true
            .then(|| tokio::spawn(runvoy.clone().tend(Duration::from_secs(5), ReconcileOptions::default())));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("http://{}", listener.local_addr()?);
        let end = async {
            // Whatever it was: nobody measures any more.
            let _ = tokio::io::stdin().read(&mut [0]).await;
        };
        Ok(serve(listener, http::router(runvoy), ServeLimits::default(), end).await?)
    })
}

/// Records so many executions in a data directory that nobody serves.
pub(crate) async fn fill(path: &Path, records: u32) -> Result<()> {
    let dir = DataDir::open(path)?;
    let stores = open(&dir)?;
    let (user, executions) = (&EMAIL.parse::<Email>()?, &stores.execution_store());
    let create = |number| async move {
        match executions.create(sample::execution(user, number)).await? {
            Created::New => Ok::<_, crate::Error>(()),
            other => Err(format!("{other:?} instead of a new record").into()),
        }
    };
    stream::iter(0..records).map(create).buffer_unordered(AT_ONCE).try_collect().await
}
