use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ExecutionSummary, UserData};
use crate::port::{TraceLevel, TraceLine};
use crate::runvoy::Trace;

/// `GET /trace/{request_id}`, in the shape that existing clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct TraceAnswer {
    /// The server's own log lines of the request, the last 1000 if there are more; `null` where it keeps none.
    pub logs: Option<Vec<TraceEvent>>,
    /// What the request was about.
    pub related_resources: RelatedResources,
}

/// A line of the server's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct TraceEvent {
    /// Its name, within this answer.
    pub event_id: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub level: TraceLevel,
    /// What it says, its fields included.
    pub message: String,
}

/// What a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct RelatedResources {
    /// Executions, newest first.
    #[serde(default)]
    pub executions: Vec<ExecutionSummary>,
    /// Secrets, by name.
    #[serde(default)]
    pub secrets: Vec<NamedResource>,
    /// People.
    #[serde(default)]
    pub users: Vec<UserData>,
    /// Images, as they were named.
    #[serde(default)]
    pub images: Vec<NamedImage>,
    /// Locks, by name.
    #[serde(default)]
    pub locks: Vec<NamedResource>,
}

/// Something with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct NamedResource {
    /// The name.
    pub name: String,
}

/// An image that was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct NamedImage {
    /// How.
    pub image: String,
}

impl TraceAnswer {
    /// The answer, at a time, about the request that is called so.
    pub fn new(request: &str, trace: Trace, provider: &str, now: Timestamp) -> Self {
        let name = |name: String| NamedResource { name };
        Self {
            logs: trace.lines.map(|lines| events(request, lines)),
            related_resources: RelatedResources {
                executions: trace.executions.iter().map(|e| ExecutionSummary::new(e, provider)).collect(),
                secrets: trace.secrets.iter().map(ToString::to_string).map(name).collect(),
                users: trace.users.into_iter().map(|user| UserData::at(now, user)).collect(),
                images: trace.images.into_iter().map(|image| NamedImage { image }).collect(),
                locks: trace.locks.iter().map(ToString::to_string).map(name).collect(),
            },
        }
    }
}

fn events(request: &str, lines: Vec<TraceLine>) -> Vec<TraceEvent> {
    let event = |(number, line): (usize, TraceLine)| TraceEvent {
        event_id: format!("{request}-{number:06}"),
        timestamp: line.at.as_millisecond(),
        level: line.level,
        message: line.message,
    };
    lines.into_iter().enumerate().map(event).collect()
}
