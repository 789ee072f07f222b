//! How many sockets may be open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::api::code;
use crate::http::ApiError;
use crate::id::Email;
use crate::limits;

/// Room for sockets: each costs memory for as long as its reader likes, and nobody gets all of it.
#[derive(Clone, Default)]
pub(in crate::http) struct Sockets(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_user: HashMap<Email, usize>,
}

/// One socket's place, until it is dropped.
pub(super) struct Place {
    sockets: Sockets,
    user: Email,
}

impl Sockets {
    /// A place for another socket that is opened with this user's key, or with an address that it was given.
    pub(super) fn take(&self, user: &Email) -> Result<Place, ApiError> {
        let mut taken = self.lock();
        if taken.by_user.get(user).is_some_and(|count| *count >= limits::SOCKETS_PER_USER) {
            return Err(full_of_theirs());
        }
        if taken.all >= limits::SOCKETS {
            return Err(full());
        }
        taken.all += 1;
        *taken.by_user.entry(user.clone()).or_default() += 1;
        Ok(Place { sockets: self.clone(), user: user.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.sockets.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

fn full() -> ApiError {
    let details = format!("{} WebSockets are open, which is the limit; try again later", limits::SOCKETS);
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not now", Some(code::SERVICE_UNAVAILABLE), Some(details))
}

fn full_of_theirs() -> ApiError {
    let most = limits::SOCKETS_PER_USER;
    let details = format!("{most} WebSockets are open with your key, which is the limit; close some");
    let code = Some(code::TOO_MANY_REQUESTS);
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many WebSockets", code, Some(details))
}
