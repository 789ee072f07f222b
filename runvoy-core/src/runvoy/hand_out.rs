//! What secrets become of a run: looked up when it is asked for, given to its task when it starts.

use super::secrets::NO_STORE;
use super::{Error, Runvoy, validate};
use crate::execution::{Execution, Patch, StartRequest};
use crate::id::SecretName;
use crate::port::{Refusal, Refused, StartTask, StoreError, Transition};
use crate::secrets::{Secret, SecretUse, SecretValue, WantedSecret};
use crate::state::Status;

/// What a start is to go on with.
pub(crate) enum HandOut {
    /// These, in the order in which the run names them.
    Given(Vec<(Secret, SecretValue)>),
    /// Nothing: one of them can never be had.
    Refused(Refusal),
    /// Nothing: somebody else has gone on with the execution meanwhile.
    Overtaken(Box<Execution>),
}

impl HandOut {
    fn refused(message: String) -> Self {
        Self::Refused(Refusal { of: Refused::Start, message })
    }
}

impl Runvoy {
    /// Finds out whose the secrets are that a run names, and answers which variable each goes into. What is not there
    /// has no owner.
    pub(super) async fn look_up_secrets(
        &self,
        wanted: &mut [WantedSecret],
    ) -> Result<Vec<(String, SecretName)>, Error> {
        if self.inner.secrets.is_none() && !wanted.is_empty() {
            return Err(Error::invalid("secrets", NO_STORE));
        }
        let mut variables = Vec::new();
        for wanted in wanted {
            let Some(secret) = self.stored_secret(&wanted.name).await? else { continue };
            *wanted = WantedSecret::of(&secret);
            variables.push((secret.key_name, secret.name));
        }
        Ok(variables)
    }

    /// Reads the values of an execution's secrets, as they are now, and notes in its record which versions they are. Two of
    /// them that go into one variable by now are refused: neither is to replace the other.
    pub(crate) async fn hand_out(
        &self,
        record: &Execution,
        request: &StartRequest,
    ) -> Result<HandOut, Error> {
        let mut given = Vec::new();
        for wanted in &request.asked.secrets {
            match self.read_secret(wanted).await? {
                Ok(secret) => given.push(secret),
                Err(message) => return Ok(HandOut::refused(message)),
            }
        }
        // Whoever owns one of them may have given it another key name since the run was accepted.
        let variables = given.iter().map(|(secret, _)| (secret.key_name.clone(), secret.name.clone()));
        if let Err(message) = validate::one_secret_each(variables) {
            return Ok(HandOut::refused(format!("the secrets {message}")));
        }
        let uses = given
            .iter()
            .map(|(secret, _)| SecretUse { name: secret.name.clone(), version: Some(secret.version) });
        let uses: Vec<_> = uses.filter(|given| !record.secrets.contains(given)).collect();
        if !uses.is_empty() {
            let patch = Patch { secrets: uses, ..Patch::default() };
            if let Transition::Refused(record) =
                self.try_transition(record.id, &[Status::Starting], &patch).await?
            {
                return Ok(HandOut::Overtaken(record));
            }
        }
        Ok(HandOut::Given(given))
    }

    /// A secret that a run was authorised for, or why it can never have it.
    async fn read_secret(
        &self,
        wanted: &WantedSecret,
    ) -> Result<Result<(Secret, SecretValue), String>, Error> {
        let name = &wanted.name;
        let gone = || Err(format!("the secret `{name}` was deleted before the command could start"));
        let (Some(store), Some(made_by)) = (&self.inner.secrets, wanted.made_by) else { return Ok(gone()) };
        match store.reveal(name, made_by).await {
            Ok(found) => Ok(found.map_or_else(gone, Ok)),
            Err(error @ StoreError::Unavailable { retryable: false, .. }) => {
                tracing::error!(secret = %name, error = %super::error_chain(&error), "a secret cannot be read");
                Ok(Err(format!(
                    "the secret `{name}` cannot be read; give it a value again with `runvoy secrets update {name}`"
                )))
            }
            Err(error) => Err(Error::store("the secret store")(error)),
        }
    }
}

/// Puts secrets into a task: into its environment, and among what its log must not show, also where a variable hides them.
pub(super) fn put_into(task: &mut StartTask, given: Vec<(Secret, SecretValue)>) {
    task.mask.extend(given.iter().map(|(_, value)| value.reveal().to_owned()));
    task.secrets = given.into_iter().map(|(secret, value)| (secret.key_name, value)).collect();
}
