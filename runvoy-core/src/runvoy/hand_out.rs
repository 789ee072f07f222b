//! What secrets become of a run: looked up when it is asked for, given to its task when it starts.

use super::secrets::NO_STORE;
use super::{Error, Runvoy, code, validate};
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
            *wanted = WantedSecret { is_variable: wanted.is_variable, ..WantedSecret::of(&secret) };
            if wanted.is_variable {
                variables.push((secret.key_name, secret.name));
            }
        }
        Ok(variables)
    }

    /// Looks for an execution's code, reads the values of its secrets, as they are now, and notes in its record which
    /// versions they are. Two of them that go into one variable by now are refused: neither is to replace the other.
    pub(crate) async fn hand_out(
        &self,
        record: &Execution,
        request: &StartRequest,
    ) -> Result<HandOut, Error> {
        if let Some(message) = self.missing_code(request.code.as_ref()).await? {
            return Ok(HandOut::refused(message));
        }
        let mut given = Vec::new();
        for wanted in &request.asked.secrets {
            match self.read_secret(wanted).await? {
                Ok(secret) => given.push(secret),
                Err(message) => return Ok(HandOut::refused(message)),
            }
        }
        // Whoever owns one of them may have given it another key name since the run was accepted.
        let wanted = request.asked.secrets.iter().zip(&given).filter(|(wanted, _)| wanted.is_variable);
        let variables = wanted.map(|(_, (secret, _))| (secret.key_name.clone(), secret.name.clone()));
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

/// Puts secrets into a task: into its environment, or into the order for its checkout; and among what its log must not
/// show, also where a variable hides them.
pub(super) fn put_into(task: &mut StartTask, given: Vec<(Secret, SecretValue)>) {
    task.mask.extend(given.iter().map(|(_, value)| value.reveal().to_owned()));
    task.workspace = task.request.code.as_ref().map(|code| {
        code::workspace(code, |name| {
            given.iter().find(|(secret, _)| secret.name == *name).map(|found| &found.1)
        })
    });
    let wanted = &task.request.asked.secrets;
    let is_variable =
        |name: &SecretName| wanted.iter().any(|wanted| wanted.name == *name && wanted.is_variable);
    let variables = given.into_iter().filter(|(secret, _)| is_variable(&secret.name));
    task.secrets = variables.map(|(secret, value)| (secret.key_name, value)).collect();
}
