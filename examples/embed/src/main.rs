//! How do I use Runvoy as a library? `cargo run -p example-embed`: all in memory, tasks follow a script.
use std::{io::Write as _, sync::Arc, time::Duration};

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::{FollowItem, LogStart, ReconcileOptions, RequestContext};
use runvoy_core::{cedar::CedarAuthorizer, clock::SystemClock, key::ApiKey, log::Stream::Stdout};
use runvoy_local::memory::{self, MemoryLogs, Script, ScriptedExecutor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let logs = Arc::new(MemoryLogs::new(Arc::new(SystemClock)));
    let executor = ScriptedExecutor::with_script(Arc::clone(&logs), Arc::new(SystemClock), |task| Script {
        output: vec![(Stdout, format!("deployed for {}\n", task.user).into())],
        exit_code: Some(3),
    });
    let authorizer = Arc::new(CedarAuthorizer::builtin());
    let runvoy = memory::stores().executor(Arc::new(executor)).logs(logs).authorizer(authorizer).build()?;
    tokio::spawn(runvoy.clone().tend(Duration::from_secs(5), ReconcileOptions::default()));

    let key = ApiKey::generate();
    runvoy.bootstrap_admin("admin@localhost".parse()?, &key).await?;
    let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await?;
    let execution = runvoy.run(&caller, RunRequest::new(Command::Shell("deploy".into())), None).await?;

    let mut follow = runvoy.follow(&caller, &execution.id.into(), LogStart::Beginning).await?;
    let mut stdout = std::io::stdout();
    while let Some(item) = follow.next().await? {
        match item {
            FollowItem::Status { .. } => {}
            FollowItem::Page(page) => {
                page.page().blocks().try_for_each(|block| stdout.write_all(&block.bytes))?;
            }
            FollowItem::End { execution: end, complete } => {
                writeln!(stdout, "{}, exit code {:?}, log complete: {complete}", end.status, end.exit_code)?;
            }
        }
    }
    Ok(())
}
