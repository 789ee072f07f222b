use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{Email, ExecutionId, LockName};
use crate::locks::{Holder, LockDocument, Waiter};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct HolderData {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Who asked for it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub user: Email,
    /// Since when.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub since: Timestamp,
    /// When its task was last seen alive, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub last_seen: Option<Timestamp>,
}

impl From<&Holder> for HolderData {
    fn from(holder: &Holder) -> Self {
        Self {
            execution_id: holder.execution,
            user: holder.user.clone(),
            since: holder.since,
            last_seen: None,
        }
    }
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct WaiterData {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Who asked for it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub user: Email,
    /// Since when.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub since: Timestamp,
    /// Its place in the line: 1 is next.
    pub position: usize,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LockData {
    /// Its name.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: LockName,
    /// The last fencing token that was granted; 0 if none ever was.
    pub token: u64,
    /// Who holds it; `null` if it is free.
    pub holder: Option<HolderData>,
    /// Who waits for it, the next first.
    pub waiters: Vec<WaiterData>,
}

impl LockData {
    /// A lock as clients see it.
    pub fn new(name: LockName, lock: &LockDocument) -> Self {
        let waiter = |(at, waiter): (usize, &Waiter)| WaiterData {
            execution_id: waiter.execution,
            user: waiter.user.clone(),
            since: waiter.since,
            position: at + 1,
        };
        Self {
            name,
            token: lock.token,
            holder: lock.holder.as_ref().map(HolderData::from),
            waiters: lock.waiters.iter().enumerate().map(waiter).collect(),
        }
    }
}

/// `GET /locks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LocksAnswer {
    /// Every lock that is held or waited for, by name.
    pub locks: Vec<LockData>,
}

/// `DELETE /locks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ReleaseAnswer {
    /// The lock.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: LockName,
    /// Whom it is taken from.
    pub holder: HolderData,
    /// What happens now.
    pub message: String,
}
