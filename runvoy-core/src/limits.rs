//! Every limit, one constant each.

use std::time::Duration;

/// Longest command, in bytes; also the sum of an argument vector's.
pub const COMMAND_BYTES: usize = 64 * 1024;
/// Longest command as a shell would read it, in bytes: the command sees it as `RUNVOY_COMMAND`, and Linux takes no
/// variable of more than 128 KiB (execve(2), `MAX_ARG_STRLEN`).
pub const QUOTED_COMMAND_BYTES: usize = 127 * 1024;
/// Most environment variables of one run.
pub const ENV_VARIABLES: usize = 100;
/// Names and values of a run's variables together, in bytes.
pub const ENV_BYTES: usize = 32 * 1024;
/// Most secrets of one run.
pub const SECRETS: usize = 20;
/// Most secrets that are kept.
pub const STORED_SECRETS: usize = 2000;
/// Largest value of a secret, in bytes.
pub const SECRET_BYTES: usize = 8 * 1024;
/// Longest description of a secret, in bytes.
pub const SECRET_DESCRIPTION: usize = 1024;
/// Most images that can be registered.
pub const IMAGES: usize = 1000;
/// CPU units of an image that is registered without (`wire-compat`).
pub const IMAGE_CPU: u64 = 256;
/// MiB of memory of an image that is registered without (`wire-compat`).
pub const IMAGE_MEMORY: u64 = 512;
/// Networks of one image.
pub const IMAGE_NETWORKS: usize = 20;
/// Longest reference of an image.
pub const IMAGE_BYTES: usize = 512;
/// CPU units that a run may ask for; 1024 are a core.
pub const CPU_UNITS: std::ops::RangeInclusive<u64> = 16..=1024 * 1024;
/// MiB of memory that a run may ask for.
pub const MEMORY_MIB: std::ops::RangeInclusive<u64> = 6..=16 * 1024 * 1024;
/// Largest request body, in bytes.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Time for a request's body to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Stored log bytes of one execution; a command that writes more is killed (`log_limit`).
pub const LOG_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Executions that may be live on one server at once, unless configured.
pub const LIVE_EXECUTIONS: u64 = 1000;
/// Share of the disk, in percent, that must be free for a new run to be accepted.
pub const FREE_DISK_PERCENT: u64 = 5;
/// Free disk space, in percent, below which no code is taken: nobody's uploads keep others from running.
pub const UPLOAD_FREE_DISK_PERCENT: u64 = 10;
/// Largest page of a listing or a log.
pub const PAGE: usize = 1000;
/// Page of a listing when the request names none (`wire-compat`: 10).
pub const DEFAULT_PAGE: usize = 10;
/// Longest `Idempotency-Key`, in visible ASCII characters.
pub const IDEMPOTENCY_KEY: usize = 255;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_hours(24);
/// Shortest prefix of an execution's id that commands take.
pub const ID_PREFIX: usize = 6;
/// Shortest API key of a form that is not ours.
pub const FOREIGN_KEY_CHARS: usize = 24;
/// Longest API key of any form.
pub const KEY_CHARS: usize = 512;
/// How long a claim token is good, and how long somebody who never claims their key is known.
pub const CLAIM_WINDOW: Duration = Duration::from_mins(15);
/// Longest time that a key may be given, in seconds: ten years.
pub const KEY_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// How long an open stream goes on without a look whether its key is still good.
pub const KEY_RECHECK: Duration = Duration::from_secs(30);
/// How long a stream token is good (`wire-compat`).
pub const STREAM_TOKEN: Duration = Duration::from_hours(24);
/// Sockets (of the WebSocket protocol) that may be open at once.
pub const SOCKETS: usize = 1000;
/// Those of them that may be one user's.
pub const SOCKETS_PER_USER: usize = 250;
/// Time a command may run when the request names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// Longest time a command may be allowed to run, unless configured.
pub const MAX_TIMEOUT: Duration = Duration::from_hours(7 * 24);
/// Time between the stop signal and `SIGKILL` when the request names none.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// Longest grace.
pub const MAX_GRACE: Duration = Duration::from_hours(1);
/// How long a start may take before it is given up.
pub const START_TIMEOUT: Duration = Duration::from_mins(15);
/// How long the owner of a start attempt is left alone before another takes over.
pub const ATTEMPT_SILENCE: Duration = Duration::from_mins(1);
/// The same where whoever is alone says that there is no task and none on its way.
pub const GONE_SILENCE: Duration = Duration::from_secs(1);
/// How long after its timeout a task that is still there is stopped from outside.
pub const OVERRUN: Duration = Duration::from_mins(2);
/// How long an execution waits for its lock when the request names none.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_hours(1);
/// Longest time that an execution may wait for its lock.
pub const MAX_WAIT: Duration = Duration::from_hours(7 * 24);
/// Executions that may wait for one lock, unless configured.
pub const QUEUE_DEPTH: usize = 100;
/// Executions that may be let wait for one lock at most.
pub const MAX_QUEUE_DEPTH: usize = 1000;
/// Longest wait of one request, in seconds.
pub const WAIT_SECONDS: u64 = 20;
/// Longest line, in bytes, before it is cut into events that continue each other.
pub const LINE_BYTES: usize = 64 * 1024;
/// Largest archive of uploaded code, in bytes.
pub const CODE_BYTES: u64 = 512 * 1024 * 1024;
/// How long uploaded code stays that nobody uses.
pub const CODE_KEPT: Duration = Duration::from_hours(14 * 24);
/// Uploads that a server takes at once.
pub const UPLOADS: usize = 16;
/// Time for one upload.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_hours(1);
/// Longest address of a git repository, in bytes.
pub const GIT_REPO: usize = runvoy_task::checkout::URL_BYTES;
/// Longest `git_ref`, in bytes.
pub const GIT_REF: usize = runvoy_task::checkout::REF_BYTES;
/// Longest `git_path`, in bytes.
pub const GIT_PATH: usize = runvoy_task::checkout::PATH_BYTES;
/// Longest name of a lock, a secret or a playbook.
pub const NAME: usize = 128;
/// Longest name in `GET /greet/{name}`.
pub const GREET_NAME: usize = 100;
