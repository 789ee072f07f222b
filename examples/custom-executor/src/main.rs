//! How do I run commands by something of my own? `functions.rs` is an [`Executor`] whose commands are functions.
//!
//! ```sh
//! cargo run -p example-custom-executor
//! ```

mod functions;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use functions::{Function, Functions};
use futures_util::{FutureExt as _, StreamExt as _};
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::SystemClock;
use runvoy_core::key::ApiKey;
use runvoy_core::port::Executor;
use runvoy_core::{RequestContext, Runvoy};
use runvoy_local::memory::{MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLogs};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let work: Function = || async { 0 }.boxed();
    let rest: Function = || std::future::pending().boxed();
    let executor: Arc<dyn Executor> = Arc::new(Functions::new([("work", work), ("rest", rest)]));
    let runvoy = Runvoy::builder()
        .keys(Arc::new(MemoryKeyStore::default()))
        .executions(Arc::new(MemoryExecutionStore::default()))
        .audit(Arc::new(MemoryAuditLog::default()))
        .authorizer(Arc::new(CedarAuthorizer::builtin()))
        .logs(Arc::new(MemoryLogs::new(Arc::new(SystemClock))))
        .executor(Arc::clone(&executor))
        .build()?;
    let (service, news) = (runvoy.clone(), executor.events());
    tokio::spawn(news.for_each(move |event| {
        let service = service.clone();
        async move { drop(service.on_task_event(&event).await) }
    }));
    let key = ApiKey::generate();
    runvoy.bootstrap_admin("admin@localhost".parse()?, &key).await?;
    let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await?;

    for name in ["work", "rest", "play"] {
        let request = RunRequest { grace: Some(0), ..RunRequest::new(Command::Shell(name.to_owned())) };
        let id = runvoy.run(&caller, request, None).await?.id.into();
        if name == "rest" {
            runvoy.kill(&caller, &id, None).await?;
        }
        let record = runvoy.wait(&caller, &id, Duration::from_secs(10)).await?;
        let reason = record.status_reason.map_or("", |reason| reason.as_str());
        writeln!(std::io::stdout(), "{name}: {} ({reason})", record.status)?;
    }
    Ok(())
}
