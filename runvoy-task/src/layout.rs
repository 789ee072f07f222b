//! Names inside the directory of one execution.

/// The start gate: a hard link that either the agent or the server succeeds in making.
pub const GATE: &str = "gate";
/// The end record, put in place by rename after the last log byte is durable.
pub const END: &str = "end.json";
/// A request to stop, put in place by rename before the agent is signalled.
pub const STOP: &str = "stop.json";
/// In a container: the pipe through which the agent is told its spec; gone once that was read.
pub const SPEC: &str = "spec";
/// The directory of log segments.
pub const LOG: &str = "log";
/// The fresh working directory of a command without a workspace.
pub const WORK: &str = "work";
/// Is there while the directory to start in is being prepared.
pub const PREPARING: &str = "preparing";
/// What the agent itself has to say: not a log of the command.
pub const AGENT_LOG: &str = "agent.log";

/// Extension of a segment: blocks, one after the other.
pub const SEGMENT_EXTENSION: &str = "seg";
/// Extension of a segment's index.
pub const INDEX_EXTENSION: &str = "idx";

/// Name of the segment (or index) whose first event has number `first`.
///
/// Zero-padded, so that names sort as numbers do.
///
/// ```
/// assert_eq!(runvoy_task::layout::segment_name(7, "seg"), "00000000000000000007.seg");
/// ```
pub fn segment_name(first: u64, extension: &str) -> String {
    format!("{first:020}.{extension}")
}

/// The number of the first event of a segment, from its file name; `None` for any other name.
pub fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_EXTENSION)?.strip_suffix('.')?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
