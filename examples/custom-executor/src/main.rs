//! How do I run commands by something of my own? `functions.rs` is an `Executor` whose commands are functions.
//!
//! ```sh
//! cargo run -p example-custom-executor
//! ```

mod functions;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use functions::Functions;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::SystemClock;
use runvoy_core::key::ApiKey;
use runvoy_core::{ReconcileOptions, RequestContext};
use runvoy_local::memory::{self, MemoryLogs};

fn function(name: &str) -> Option<BoxFuture<'static, i32>> {
    match name {
        "work" => Some(async { 0 }.boxed()),
        "rest" => Some(std::future::pending().boxed()),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runvoy = memory::stores()
        .executor(Arc::new(Functions(function, std::sync::Mutex::default())))
        .logs(Arc::new(MemoryLogs::new(Arc::new(SystemClock))))
        .authorizer(Arc::new(CedarAuthorizer::builtin()))
        .build()?;
    // This executor tells no news by itself, so it is asked often.
    tokio::spawn(runvoy.clone().tend(Duration::from_millis(50), ReconcileOptions::default()));
    let key = ApiKey::generate();
    runvoy.bootstrap_admin("admin@localhost".parse()?, &key).await?;
    let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await?;

    for name in ["work", "rest", "play"] {
        let id = runvoy.run(&caller, RunRequest::new(Command::Shell(name.to_owned())), None).await?.id.into();
        if name == "rest" {
            runvoy.kill(&caller, &id, None).await?;
        }
        let record = runvoy.wait(&caller, &id, Duration::from_secs(10)).await?;
        let reason = record.status_reason.map_or("", |reason| reason.as_str());
        writeln!(std::io::stdout(), "{name}: {} ({reason})", record.status)?;
    }
    Ok(())
}
