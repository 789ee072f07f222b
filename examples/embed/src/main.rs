//! How do I use Runvoy as a library? Everything is in memory, and the executor follows a script.
//!
//! ```sh
//! cargo run -p example-embed
//! ```

use std::io::Write as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::{SharedClock, SystemClock};
use runvoy_core::key::ApiKey;
use runvoy_core::log::Stream;
use runvoy_core::port::{Executor as _, LogItem, StartTask};
use runvoy_core::{FollowItem, LogStart, RequestContext, Runvoy};
use runvoy_local::memory::{MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLogs};
use runvoy_local::memory::{Script, ScriptedExecutor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock: SharedClock = Arc::new(SystemClock);
    let logs = Arc::new(MemoryLogs::new(Arc::clone(&clock)));
    let executor = Arc::new(ScriptedExecutor::with_script(Arc::clone(&logs), clock, script));
    let runvoy = Runvoy::builder()
        .keys(Arc::new(MemoryKeyStore::default()))
        .executions(Arc::new(MemoryExecutionStore::default()))
        .audit(Arc::new(MemoryAuditLog::default()))
        .authorizer(Arc::new(CedarAuthorizer::builtin()))
        .logs(logs)
        .executor(Arc::clone(&executor) as _)
        .build()?;
    let (service, news) = (runvoy.clone(), executor.events());
    tokio::spawn(news.for_each(move |event| {
        let service = service.clone();
        async move { drop(service.on_task_event(&event).await) }
    }));

    let key = ApiKey::generate();
    runvoy.bootstrap_admin("admin@localhost".parse()?, &key).await?;
    let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await?;
    let execution = runvoy.run(&caller, RunRequest::new(Command::Shell("deploy".into())), None).await?;

    let mut follow = runvoy.follow(&caller, &execution.id.into(), LogStart::Beginning).await?;
    let mut stdout = std::io::stdout();
    while let Some(item) = follow.next().await? {
        match item {
            FollowItem::Status(_) => {}
            FollowItem::Page(page) => {
                for item in &page.page().items {
                    let LogItem::Block(block) = item else { continue };
                    stdout.write_all(&block.bytes)?;
                }
            }
            FollowItem::End { execution, complete } => {
                let code = execution.exit_code.unwrap_or_default();
                writeln!(stdout, "{}, exit code {code}, log complete: {complete}", execution.status)?;
            }
        }
    }
    Ok(())
}

/// What the command does here, where nothing really runs.
fn script(task: &StartTask) -> Script {
    let line = format!("deployed for {}\n", task.user);
    Script { output: vec![(Stream::Stdout, line.into())], exit_code: Some(3) }
}
