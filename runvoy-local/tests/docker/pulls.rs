//! Images that a registry has and the engine has not: a registry of our own, whose answers can be held back.

use std::fs;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use futures_util::StreamExt as _;
use runvoy_core::port::{Executor, Phase, TaskState};
use runvoy_core::testing::executor::exit;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{Containers, PATIENCE, args, docker, docker_text};

/// What goes through before an answer is held back: everything but a layer.
const FREE: usize = 100_000;

/// A registry, and a way to it that can be closed.
struct Registry {
    child: Child,
    port: u16,
    open: watch::Sender<bool>,
    _connections: JoinSet<()>,
    dir: TempDir,
}

impl Registry {
    /// `None` where there is none to be started.
    async fn start() -> Option<Self> {
        if Command::new("docker-registry").arg("--version").stdout(Stdio::null()).status().is_err() {
            let required = std::env::var("RUNVOY_TEST_REQUIRE").is_ok_and(|what| what == "all");
            assert!(!required, "docker-registry is required");
            eprintln!("left out: needs docker-registry");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let own = free_port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{own}'}}\n",
            dir.path().join("store").display()
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", own)).await.is_err() {
            assert!(since.elapsed() < PATIENCE, "no registry");
            tokio::task::yield_now().await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        let mut connections = JoinSet::new();
        connections.spawn(pass_on(listener, own, is_open));
        Some(Self { child, port, open, _connections: connections, dir })
    }

    /// Puts an image there that the engine then has no more: one program, and bytes that nobody else has.
    fn put(&self, name: &str) -> String {
        let files = self.dir.path().join("files");
        fs::create_dir_all(&files).unwrap();
        fs::copy(busybox(), files.join("busybox")).unwrap();
        fs::copy(busybox(), files.join("more")).unwrap();
        fs::write(files.join("unique"), name).unwrap();
        let archive = self.dir.path().join("image.tar");
        let made =
            Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&files).arg(".").status().unwrap();
        assert!(made.success());
        let reference = format!("127.0.0.1:{}/{name}:1", self.port);
        docker_text(&["import", archive.to_str().unwrap(), &reference]);
        docker_text(&["push", &reference]);
        docker_text(&["rmi", &reference]);
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let all = format!("reference=127.0.0.1:{}/*", self.port);
        for image in docker_text(&["images", "--quiet", "--filter", &all]).lines() {
            docker(&["rmi", "--force", image]);
        }
    }
}

fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn busybox() -> &'static Path {
    ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists()).unwrap()
}

async fn pass_on(listener: TcpListener, to: u16, is_open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connect(client, to, is_open.clone()));
    }
}

async fn connect(client: TcpStream, to: u16, mut is_open: watch::Receiver<bool>) {
    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let answers = async {
        let (mut chunk, mut passed) = (vec![0; 16 * 1024], 0);
        while let Ok(read @ 1..) = from_server.read(&mut chunk).await {
            passed += read;
            let is_free = passed < FREE || is_open.wait_for(|is_open| *is_open).await.is_ok();
            if !is_free || to_client.write_all(chunk.get(..read).unwrap_or_default()).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(asks, answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_told_while_it_goes_on_and_its_image_is_recorded() {
    let containers = Containers::new().await;
    let Some(registry) = Registry::start().await else { return };
    let reference = registry.put("runvoy-test-pulled");
    registry.open.send(false).unwrap();
    let start = args(&reference, &["/busybox", "echo", "pulled"]);
    let mut events = containers.executor.events();
    containers.executor.start(&start).await.unwrap();
    // The layer does not come before this has been told.
    let told = async {
        loop {
            let event = events.next().await.unwrap();
            let progress = containers.executor.progress(start.id);
            if event.id == start.id
                && event.state == TaskState::Pending
                && progress.as_ref().is_some_and(|p| p.detail.is_some())
            {
                return progress.unwrap();
            }
        }
    };
    let progress = tokio::time::timeout(PATIENCE, told).await.expect("a pull is told");
    assert_eq!(progress.phase, Phase::Pulling);
    assert!(progress.detail.unwrap().starts_with("0 of 1 layers"));
    registry.open.send(true).unwrap();
    let ended = exit(&*containers.executor, start.id).await;
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(containers.log(start.id).await[0], b"pulled\n");
    let digests = docker_text(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &reference]);
    assert_eq!(ended.image_digest.as_deref(), digests.split_once('@').map(|(_, digest)| digest));
    assert_eq!(containers.executor.progress(start.id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_need_one_image_pull_it_once() {
    let containers = Containers::new().await;
    let Some(registry) = Registry::start().await else { return };
    let reference = registry.put("runvoy-test-shared");
    let tasks: Vec<_> = (0..5).map(|_| args(&reference, &["/busybox", "echo", "shared"])).collect();
    for task in &tasks {
        containers.executor.start(task).await.unwrap();
    }
    for task in &tasks {
        assert_eq!(exit(&*containers.executor, task.id).await.exit_code, Some(0));
    }
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_lacks_is_told_in_words() {
    let containers = Containers::new().await;
    let Some(registry) = Registry::start().await else { return };
    let start = args(&format!("127.0.0.1:{}/none:1", registry.port), &["/busybox"]);
    containers.executor.start(&start).await.unwrap();
    let TaskState::Refused(refusal) = containers.over(start.id).await else { panic!("not refused") };
    assert!(refusal.message.starts_with("there is no image `127.0.0.1:"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_while_an_image_is_pulled_never_begins() {
    let containers = Containers::new().await;
    let Some(registry) = Registry::start().await else { return };
    let reference = registry.put("runvoy-test-stopped");
    registry.open.send(false).unwrap();
    let start = args(&reference, &["/busybox", "echo", "never"]);
    let mut events = containers.executor.events();
    containers.executor.start(&start).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, events.next()).await.expect("a pull is told").unwrap();
    assert_eq!((first.id, first.state), (start.id, TaskState::Pending));
    containers.executor.revoke(start.id).await.unwrap();
    assert_eq!(containers.over(start.id).await, TaskState::Gone);
    assert_eq!(containers.log(start.id).await[0], b"");
    containers.must_be_empty();
}
