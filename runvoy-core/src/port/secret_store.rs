use async_trait::async_trait;

use super::StoreError;
use crate::id::{RequestId, SecretName};
use crate::secrets::{Secret, SecretChange, SecretValue};

/// What became of a new secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCreated {
    /// It is there now.
    Made,
    /// Another has its name, and is as it was.
    Taken,
    /// There are as many as there may be ([`crate::limits::STORED_SECRETS`]).
    Full,
}

/// Secrets: what is known of them, and their values.
///
/// # Contract
///
/// - Values are sealed at rest, apart from everything else, and open in their own place only.
/// - An operation is atomic, an answer means durable, and the next operation sees it, wherever it is asked.
/// - `made_by` is the request that created the secret as its caller saw it, to whom it was authorised. A secret that was
///   deleted meanwhile, and another one in its place, is `None`: nothing is done to it and nothing told of it.
/// - A value that cannot be opened is an error that is not retryable, and keeps nobody from the others.
/// - A store that cannot be reached answers [`StoreError::Unavailable`], never "no such secret".
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// Adds a secret, if its name is free.
    async fn create(&self, secret: Secret, value: SecretValue) -> Result<SecretCreated, StoreError>;

    /// What is known of one.
    async fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError>;

    /// What is known of all, by name. Never a value.
    async fn list(&self) -> Result<Vec<Secret>, StoreError>;

    /// Opens every value where it is kept, and lets none out: the names of those that do not open.
    async fn verify(&self) -> Result<Vec<SecretName>, StoreError>;

    /// A secret and its value, of one moment.
    async fn reveal(
        &self,
        name: &SecretName,
        made_by: RequestId,
    ) -> Result<Option<(Secret, SecretValue)>, StoreError>;

    /// Changes a secret by [`Secret::apply`]; answers it as it is then.
    async fn update(
        &self,
        name: &SecretName,
        made_by: RequestId,
        change: SecretChange,
    ) -> Result<Option<Secret>, StoreError>;

    /// Removes a secret and its value; answers what it was. Its name is free again.
    async fn delete(&self, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, StoreError>;
}
