use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::id::{RequestId, SecretName};
use runvoy_core::limits;
use runvoy_core::port::{SecretCreated, SecretStore, StoreError};
use runvoy_core::secrets::{Secret, SecretChange, SecretValue};
use rusqlite::Connection;

use super::database::Database;
use super::error::Failure;
use super::execution_row::Columns;
use super::seal::Sealer;

const GET: &str = "SELECT document FROM secrets WHERE name = ?1";
const ALL: &str = "SELECT document FROM secrets ORDER BY name";
const COUNT: &str = "SELECT count(*) FROM secrets";
const SEALED: &str = "SELECT sealed_value FROM secrets WHERE name = ?1";
const INSERT: &str = "INSERT INTO secrets (name, document, sealed_value) VALUES (?1, ?2, ?3)";
const DOCUMENT: &str = "UPDATE secrets SET document = ?2 WHERE name = ?1";
const VALUE: &str = "UPDATE secrets SET sealed_value = ?2 WHERE name = ?1";
const DELETE: &str = "DELETE FROM secrets WHERE name = ?1";

/// Secrets in the file: what is known of one as it is, its value sealed. Nothing of a value stays in memory.
pub(super) struct SqliteSecretStore {
    database: Arc<Database>,
    sealer: Arc<Sealer>,
}

impl SqliteSecretStore {
    pub(super) fn new(database: Arc<Database>, sealer: Arc<Sealer>) -> Self {
        Self { database, sealer }
    }
}

fn get(connection: &Connection, name: &SecretName) -> Result<Option<Secret>, Failure> {
    let mut statement = connection.prepare_cached(GET)?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(|row| parse(Columns(row).text(0)?)).transpose()
}

/// Every secret in the file, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<Secret>, Failure> {
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    let mut secrets = Vec::new();
    while let Some(row) = rows.next()? {
        secrets.push(parse(Columns(row).text(0)?)?);
    }
    Ok(secrets)
}

/// The sealed value of a secret that is there.
pub(super) fn sealed(connection: &Connection, name: &SecretName) -> Result<Vec<u8>, Failure> {
    let mut statement = connection.prepare_cached(SEALED)?;
    Ok(statement.query_row([name.as_str()], |row| row.get(0))?)
}

/// Writes a sealed value in the place of another.
pub(super) fn put_sealed(connection: &Connection, name: &SecretName, sealed: &[u8]) -> Result<(), Failure> {
    connection.prepare_cached(VALUE)?.execute((name.as_str(), sealed))?;
    Ok(())
}

fn parse(document: &str) -> Result<Secret, Failure> {
    serde_json::from_str(document).map_err(Failure::unreadable)
}

fn document(secret: &Secret) -> Result<String, Failure> {
    serde_json::to_string(secret).map_err(Failure::unreadable)
}

/// The secret that was made by a request, and none that has its name meanwhile.
fn known(connection: &Connection, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, Failure> {
    Ok(get(connection, name)?.filter(|secret| secret.created_by_request_id == made_by))
}

fn create(connection: &Connection, secret: &Secret, sealed: &[u8]) -> Result<SecretCreated, Failure> {
    if get(connection, &secret.name)?.is_some() {
        return Ok(SecretCreated::Taken);
    }
    let count: i64 = connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
    if usize::try_from(count).is_ok_and(|count| count >= limits::STORED_SECRETS) {
        return Ok(SecretCreated::Full);
    }
    let values = (secret.name.as_str(), document(secret)?, sealed);
    connection.prepare_cached(INSERT)?.execute(values)?;
    Ok(SecretCreated::Made)
}

fn update(
    connection: &Connection,
    sealer: &Sealer,
    secret: &mut Secret,
    change: &SecretChange,
) -> Result<(), Failure> {
    secret.apply(change);
    if let Some(value) = &change.value {
        put_sealed(connection, &secret.name, &sealer.seal_secret(secret, value)?)?;
    }
    connection.prepare_cached(DOCUMENT)?.execute((secret.name.as_str(), document(secret)?))?;
    Ok(())
}

/// The secrets whose values do not open; those that do are dropped one after the other.
fn spoilt(connection: &Connection, sealer: &Sealer) -> Result<Vec<SecretName>, Failure> {
    // All of one moment: a writer may be at work.
    let moment = connection.unchecked_transaction()?;
    let mut spoilt = Vec::new();
    for secret in all(&moment)? {
        if sealer.unseal_secret(&secret, &sealed(&moment, &secret.name)?).is_err() {
            spoilt.push(secret.name);
        }
    }
    Ok(spoilt)
}

#[async_trait]
impl SecretStore for SqliteSecretStore {
    async fn create(&self, secret: Secret, value: SecretValue) -> Result<SecretCreated, StoreError> {
        let sealed = self.sealer.seal_secret(&secret, &value)?;
        Ok(self.database.write(move |connection| create(connection, &secret, &sealed)).await?)
    }

    async fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError> {
        let name = name.clone();
        Ok(self.database.read(move |connection| get(connection, &name)).await?)
    }

    async fn list(&self) -> Result<Vec<Secret>, StoreError> {
        Ok(self.database.read(all).await?)
    }

    async fn verify(&self) -> Result<Vec<SecretName>, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        Ok(self.database.read(move |connection| spoilt(connection, &sealer)).await?)
    }

    async fn reveal(
        &self,
        name: &SecretName,
        made_by: RequestId,
    ) -> Result<Option<(Secret, SecretValue)>, StoreError> {
        let (name, sealer) = (name.clone(), Arc::clone(&self.sealer));
        let reveal = move |connection: &Connection| {
            // Both of one moment: a writer may be at work.
            let moment = connection.unchecked_transaction()?;
            let Some(secret) = known(&moment, &name, made_by)? else { return Ok(None) };
            let value = sealer.unseal_secret(&secret, &sealed(&moment, &name)?)?;
            Ok(Some((secret, value)))
        };
        Ok(self.database.read(reveal).await?)
    }

    async fn update(
        &self,
        name: &SecretName,
        made_by: RequestId,
        change: SecretChange,
    ) -> Result<Option<Secret>, StoreError> {
        let (name, sealer) = (name.clone(), Arc::clone(&self.sealer));
        let write = move |connection: &Connection| {
            let Some(mut secret) = known(connection, &name, made_by)? else { return Ok(None) };
            update(connection, &sealer, &mut secret, &change)?;
            Ok(Some(secret))
        };
        Ok(self.database.write(write).await?)
    }

    async fn delete(&self, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, StoreError> {
        let name = name.clone();
        let delete = move |connection: &Connection| {
            let Some(secret) = known(connection, &name, made_by)? else { return Ok(None) };
            connection.prepare_cached(DELETE)?.execute([name.as_str()])?;
            Ok(Some(secret))
        };
        Ok(self.database.write(delete).await?)
    }
}

#[cfg(test)]
mod tests {
    use runvoy_core::testing::secret_store::some_secret;

    use super::super::{MasterKey, SqliteConfig, SqliteStores};
    use super::*;

    #[tokio::test]
    async fn a_value_that_does_not_open_is_named_and_those_beside_it_are_sound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runvoy.db");
        let config = SqliteConfig { path: path.clone(), master_key: MasterKey::from_bytes([7; 32]) };
        let stores = SqliteStores::open(config).unwrap();
        let secrets = stores.secret_store();
        let [first, second, third] = [some_secret(), some_secret(), some_secret()];
        for secret in [&first, &second, &third] {
            secrets.create(secret.clone(), SecretValue::new("hunter22")).await.unwrap();
        }
        assert_eq!(secrets.verify().await.unwrap(), []);
        let file = Connection::open(path).unwrap();
        let swap = "UPDATE secrets SET sealed_value = (SELECT sealed_value FROM secrets WHERE name = ?1) WHERE name = ?2";
        file.execute(swap, (first.name.as_str(), second.name.as_str())).unwrap();
        assert_eq!(secrets.verify().await.unwrap(), [second.name]);
    }
}
