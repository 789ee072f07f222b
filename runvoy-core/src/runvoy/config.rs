use std::time::Duration;

use super::Rates;
use crate::address::AddressRange;
use crate::limits;
use crate::origin::{AllowedOrigin, PublicUrl};

/// What an admin may set. Plain values; the defaults are those of [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it runs, as `GET /health` tells: `LOCAL`, `AWS`.
    pub provider: String,
    /// Which region, where there is one.
    pub region: Option<String>,
    /// The version that `GET /health` tells.
    pub version: String,
    /// Executions that may be live at once; `None` for any number.
    pub max_live: Option<u64>,
    /// Executions of one user that may be live at once; `None` for any number.
    pub max_live_per_user: Option<u64>,
    /// Executions that may wait for one lock, at most [`limits::MAX_QUEUE_DEPTH`].
    pub queue_depth: usize,
    /// How long a command may run when the request does not say.
    pub default_timeout: Duration,
    /// How long a request may let its command run.
    pub max_timeout: Duration,
    /// Stored log bytes of one execution.
    pub log_limit: u64,
    /// How long a reader waits for the end of a log whose task is gone.
    pub log_settle: Duration,
    /// How long a start may take before it is given up.
    pub start_timeout: Duration,
    /// How many requests are let in.
    pub rates: Rates,
    /// Proxies whose word counts on where a request comes from (`X-Forwarded-For`).
    pub trusted_proxies: Vec<AddressRange>,
    /// Where clients reach the server; what each request says of it unless given.
    pub public_url: Option<PublicUrl>,
    /// Pages of which origins may ask from a browser, beside the server's own.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// How often a wait looks again by itself, for what happened in another process.
    pub poll: Duration,
    /// The same for who waits in line for a lock: the default is for a service of one process, which tells them itself;
    /// where several share the locks it is how late they may hear of their turn.
    pub poll_in_line: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            provider: "LOCAL".to_owned(),
            region: None,
            version: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
            max_live: Some(limits::LIVE_EXECUTIONS),
            max_live_per_user: None,
            queue_depth: limits::QUEUE_DEPTH,
            default_timeout: limits::DEFAULT_TIMEOUT,
            max_timeout: limits::MAX_TIMEOUT,
            log_limit: limits::LOG_BYTES,
            log_settle: Duration::from_secs(5),
            start_timeout: limits::START_TIMEOUT,
            rates: Rates::default(),
            trusted_proxies: Vec::new(),
            public_url: None,
            allowed_origins: Vec::new(),
            poll: Duration::from_secs(1),
            poll_in_line: limits::KEY_RECHECK,
        }
    }
}
