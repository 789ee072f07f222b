//! Every environment variable that `runvoy` reads.

/// Names another configuration file.
pub(crate) const CONFIG: &str = "RUNVOY_CONFIG";
/// Picks a profile.
pub(crate) const PROFILE: &str = "RUNVOY_PROFILE";
/// The server.
pub(crate) const API_ENDPOINT: &str = "RUNVOY_API_ENDPOINT";
/// The API key.
pub(crate) const API_KEY: &str = "RUNVOY_API_KEY";
/// Variables of a run begin with this.
pub(crate) const USER_PREFIX: &str = "RUNVOY_USER_";
/// Names the agent's executable.
pub(crate) const AGENT: &str = "RUNVOY_AGENT";
/// Names the Docker engine, as for its own client.
pub(crate) const DOCKER_HOST: &str = "DOCKER_HOST";
/// Names a file of certificates that checkouts trust beside the public authorities.
pub(crate) const CA_BUNDLE: &str = "RUNVOY_CA_BUNDLE";
/// Presets the first admin's key.
pub(crate) const ADMIN_API_KEY: &str = "RUNVOY_ADMIN_API_KEY";
/// The master key of the data directory, where it is in no file.
pub(crate) const MASTER_KEY: &str = "RUNVOY_MASTER_KEY";
/// The one that takes its place.
pub(crate) const NEW_MASTER_KEY: &str = "RUNVOY_NEW_MASTER_KEY";
/// Tells a server that the preset key is on its standard input: it has taken it out of its environment. Holds its process
/// id, and the terminal that its standard input was.
#[cfg(all(unix, feature = "local"))]
pub(crate) const PRESET_ON_STDIN: &str = "RUNVOY_PRESET_ON_STDIN";
/// What the server logs.
pub(crate) const LOG: &str = "RUNVOY_LOG";
/// Turns colours off.
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// The table of the reference.
pub(crate) const TABLE: &[(&str, &str)] = &[
    (CONFIG, "configuration file; `~/.runvoy/config.yaml` otherwise"),
    (PROFILE, "profile of the configuration file; `--profile` beats it"),
    (API_ENDPOINT, "server, instead of the file's; the file's key is not sent to it"),
    (API_KEY, "API key, instead of the file's"),
    ("RUNVOY_USER_<NAME>", "variable NAME of every `run`"),
    (AGENT, "agent executable of `local serve` and `local run`; the embedded one otherwise"),
    (DOCKER_HOST, "Docker engine of `local serve` and `local run`: `unix://` or `tcp://`"),
    (CA_BUNDLE, "PEM file of further authorities that git checkouts trust"),
    ("HTTPS_PROXY, NO_PROXY", "how git checkouts reach their servers; lower case counts, too"),
    (ADMIN_API_KEY, "key of the first admin that `local serve` creates; ignored once there are users"),
    (
        MASTER_KEY,
        "master key of `local serve` and `local run`, 64 hex digits; the data directory's `master.key` otherwise",
    ),
    (NEW_MASTER_KEY, "the one that `local rotate-master-key` puts in its place"),
    (LOG, "what `local serve` logs, as `info` or `runvoy_core=debug`"),
    (NO_COLOR, "no colours, when set to anything"),
];
