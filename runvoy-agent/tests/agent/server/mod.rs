//! A git server as forges run one: `git http-backend` behind TLS and a login.

mod connection;
pub(crate) mod proxy;
pub(crate) mod repository;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use runvoy_task::{GitWorkspace, Secret};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// A name that no name server has, only the test's proxy.
pub(crate) const HIDDEN_HOST: &str = "git.hidden.invalid";

/// What serves. Stops with the value.
pub(crate) struct Server {
    shared: Arc<Shared>,
    port: u16,
    /// PEM of the authority that vouches for it.
    pub(crate) authority: String,
}

/// What connections share.
struct Shared {
    root: PathBuf,
    tls: Arc<ServerConfig>,
    token: Option<String>,
    over: AtomicBool,
    /// Requests of paths under `/slow/` wait for this.
    gate: Gate,
    /// How many have waited.
    held: AtomicUsize,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_timeout_while(open, Duration::from_mins(1), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Server {
    /// Serves the repositories below a directory; to everybody, or to whom knows the token.
    pub(crate) fn start(root: &Path, token: Option<&str>) -> Self {
        let (authority, tls) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            tls,
            token: token.map(str::to_owned),
            over: AtomicBool::new(false),
            gate: Gate::default(),
            held: AtomicUsize::new(0),
        });
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if acceptor.over.load(Ordering::SeqCst) {
                    break;
                }
                let (shared, stream) = (Arc::clone(&acceptor), stream.unwrap());
                // A client that goes away in the middle is no failure of the server.
                thread::spawn(move || connection::serve(&shared, stream));
            }
        });
        Self { shared, port, authority }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// A checkout of a path, with the authority, without a token.
    pub(crate) fn workspace(&self, path: &str, git_ref: &str) -> GitWorkspace {
        let mut git = GitWorkspace::new(self.url(path));
        git_ref.clone_into(&mut git.git_ref);
        git.network.ca_bundle = Some(self.authority.clone());
        git.token = self.shared.token.as_deref().map(Secret::new);
        git
    }

    /// How many requests of `/slow/` have been held so far.
    pub(crate) fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Lets them go.
    pub(crate) fn release(&self) {
        self.shared.gate.open();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.release();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// An authority of the test's own, and a server that it vouches for.
fn certificates() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", HIDDEN_HOST].map(str::to_owned).to_vec();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority.pem(), Arc::new(tls))
}
