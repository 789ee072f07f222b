//! The real service and stores, whose executor runs nothing: so that they are what is measured.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::{Email, ExecutionId, RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{
    Capabilities, Claim, Created, Executor, ExecutorError, StartTask, StoreError, TaskEvent, TaskState, User,
};
use runvoy_core::{Config, Rate, Rates, Runvoy, http};
use runvoy_local::memory::MemoryLogs;
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use runvoy_local::{DataDir, ServeLimits, serve};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::sample::{self, EMAIL};
use crate::{KEY, Result};

/// Records on their way into the store at once.
const AT_ONCE: usize = 512;

/// Accepts every task and does nothing about it.
struct Noop;

#[async_trait]
impl Executor for Noop {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn start(&self, _task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
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
        stream::pending().boxed()
    }
}

fn open(dir: &DataDir) -> Result<SqliteStores> {
    let master_key = MasterKey::load_or_create(&dir.master_key())?;
    Ok(SqliteStores::open(SqliteConfig { path: dir.database(), master_key })?)
}

/// Serves a data directory until standard input ends. Says where on standard output.
pub(crate) fn run(path: &Path) -> Result<()> {
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
        let runvoy = Runvoy::builder()
            .keys(stores.key_store())
            .executions(stores.execution_store())
            .locks(stores.lock_manager())
            .audit(stores.audit_log())
            .executor(Arc::new(Noop))
            .logs(Arc::new(MemoryLogs::new(Arc::new(SystemClock))))
            .authorizer(Arc::new(CedarAuthorizer::builtin()))
            .config(Config { max_live: None, rates, ..Config::default() })
            .build()?;
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
