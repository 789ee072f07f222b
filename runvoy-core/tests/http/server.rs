//! A service over the memory ports behind its router, with one user of each role.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use runvoy_core::audit::CheckpointKey;
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::Clock as _;
use runvoy_core::id::{RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::log::Stream;
use runvoy_core::port::{
    AuditLog, Authorizer, CodeStore, ExecutionStore, Executor, ImageRegistry, KeyStore, LockManager,
    LogSource, SecretStore, TraceLog, User,
};
use runvoy_core::testing::ManualClock;
use runvoy_core::{Config, ReconcileOptions, Runvoy};
use runvoy_local::memory::{
    MemoryAuditLog, MemoryCodeStore, MemoryExecutionStore, MemoryImageRegistry, MemoryKeyStore,
    MemoryLockManager, MemoryLogs, MemorySecretStore, Script, ScriptedExecutor,
};
use serde_json::Value;
use tower::ServiceExt as _;

/// The ports, each to be replaced by a test that wants another.
pub(crate) struct Ports {
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) executions: Arc<dyn ExecutionStore>,
    pub(crate) locks: Arc<dyn LockManager>,
    pub(crate) images: Arc<dyn ImageRegistry>,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) code: Option<Arc<dyn CodeStore>>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) logs: Arc<dyn LogSource>,
    pub(crate) audit: Arc<dyn AuditLog>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) trace: Option<Arc<dyn TraceLog>>,
    pub(crate) checkpoint_key: Option<CheckpointKey>,
    pub(crate) config: Config,
}

pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runvoy: Runvoy,
    pub(crate) ports: Ports,
    /// Tasks that do what the test says, if the server was made so.
    pub(crate) manual: ScriptedExecutor,
    pub(crate) logs: Arc<MemoryLogs>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

/// The key of the user of a role.
pub(crate) fn key(role: Role) -> String {
    format!("{role}-key-for-tests-only-000000")
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose tasks do what the test says.
    pub(crate) async fn manual() -> Self {
        Self::manual_with(|_| {}).await
    }

    /// The same, some of whose ports are others.
    pub(crate) async fn manual_with(change: impl FnOnce(&mut Ports)) -> Self {
        Self::assemble(true, change).await
    }

    /// A server some of whose ports are others.
    pub(crate) async fn with(change: impl FnOnce(&mut Ports)) -> Self {
        Self::assemble(false, change).await
    }

    pub(crate) async fn assemble(by_hand: bool, change: impl FnOnce(&mut Ports)) -> Self {
        let clock = Arc::new(ManualClock::default());
        let logs = Arc::new(MemoryLogs::new(clock.clone()));
        let manual = ScriptedExecutor::manual(Arc::clone(&logs), clock.clone());
        let scripted = ScriptedExecutor::with_script(Arc::clone(&logs), clock.clone(), |_| Script {
            output: vec![
                (Stream::Stdout, Bytes::from_static(b"hello\nworld\n")),
                (Stream::Stderr, Bytes::from_static(b"oops\n")),
            ],
            ..Script::default()
        });
        let keys = Arc::new(MemoryKeyStore::default());
        for role in Role::ALL {
            let user = User::new(
                format!("{role}@acme.test").parse().unwrap(),
                role,
                clock.now(),
                RequestId::from_u128(1),
            );
            keys.insert(user, ApiKey::parse(&key(role)).unwrap().hash()).await.unwrap();
        }
        let mut ports = Ports {
            keys,
            executions: Arc::new(MemoryExecutionStore::default()),
            locks: Arc::new(MemoryLockManager::default()),
            images: Arc::new(MemoryImageRegistry::default()),
            secrets: Arc::new(MemorySecretStore::default()),
            code: Some(Arc::new(MemoryCodeStore::default())),
            executor: if by_hand { Arc::new(manual.clone()) } else { Arc::new(scripted) },
            logs: logs.clone(),
            audit: Arc::new(MemoryAuditLog::default()),
            authorizer: Arc::new(CedarAuthorizer::builtin()),
            trace: None,
            checkpoint_key: None,
            config: Config::default(),
        };
        change(&mut ports);
        let mut builder = Runvoy::builder();
        if let Some(trace) = &ports.trace {
            builder = builder.trace(trace.clone());
        }
        if let Some(code) = &ports.code {
            builder = builder.code(code.clone());
        }
        if let Some(key) = &ports.checkpoint_key {
            builder = builder.checkpoint_key(key.clone());
        }
        let runvoy = builder
            .keys(ports.keys.clone())
            .executions(ports.executions.clone())
            .locks(ports.locks.clone())
            .images(ports.images.clone())
            .secrets(ports.secrets.clone())
            .executor(ports.executor.clone())
            .logs(ports.logs.clone())
            .audit(ports.audit.clone())
            .authorizer(ports.authorizer.clone())
            .config(ports.config.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        let router = runvoy_core::http::router(runvoy.clone());
        Self { router, clock, runvoy, ports, manual, logs }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Asks as the admin.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.ask_as(Some(&key(Role::Admin)), method, path, body).await
    }

    pub(crate) async fn ask_as(
        &self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if let Some(key) = key {
            request = request.header("X-API-Key", key);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Body::empty()).await
    }

    /// Starts a command as the admin and answers its execution's id.
    pub(crate) async fn run(&self, command: &str) -> String {
        let body = serde_json::json!({ "command": command }).to_string();
        let answer = self.ask(Method::POST, "/run", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.json()["execution_id"].as_str().unwrap().to_owned()
    }

    /// Starts a command whose task claims at once and then waits for the test.
    pub(crate) async fn start_manually(&self, command: &str) -> String {
        let id = self.run(command).await;
        for task in self.manual.pending() {
            assert!(self.manual.claim(task.task));
        }
        self.settle().await;
        id
    }

    /// Brings every record in line with its task.
    pub(crate) async fn settle(&self) {
        self.runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
    }

    /// How many executions there are.
    pub(crate) async fn executions(&self) -> usize {
        self.get("/executions?limit=0").await.json().as_array().unwrap().len()
    }
}
