use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use runvoy_core::images::{Image, ImageAnswer, ImageCommand, ImageId, step};
use runvoy_core::port::{ImageRegistry, StoreError};
use rusqlite::Connection;

use super::database::Database;
use super::error::Failure;
use super::execution_row::Columns;

const ALL: &str = "SELECT document FROM images ORDER BY id";
const PUT: &str = "INSERT INTO images (id, is_default, document) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET is_default = excluded.is_default, document = excluded.document";
const DELETE: &str = "DELETE FROM images WHERE id = ?1";

/// Every image, by id.
pub(super) type Images = BTreeMap<ImageId, Image>;

/// Images in the file, and in memory too: every run looks for its own. The file has one server, so the memory is right
/// as long as it follows each commit, on the writing thread.
pub(super) struct SqliteImageRegistry {
    database: Arc<Database>,
    known: Arc<RwLock<Arc<[Image]>>>,
}

impl SqliteImageRegistry {
    pub(super) fn new(database: Arc<Database>, images: Images) -> Self {
        Self { database, known: Arc::new(RwLock::new(images.into_values().collect())) }
    }
}

/// Every image in the file.
pub(super) fn load(connection: &Connection) -> Result<Images, Failure> {
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    let mut images = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let image: Image = serde_json::from_str(Columns(row).text(0)?).map_err(Failure::unreadable)?;
        images.insert(image.id.clone(), image);
    }
    Ok(images)
}

/// The answer, and all images if any changed.
fn command(
    connection: &Connection,
    command: &ImageCommand,
) -> Result<(ImageAnswer, Option<Images>), Failure> {
    let before = load(connection)?;
    let mut images = before.clone();
    let answer = step(&mut images, command);
    if images == before {
        return Ok((answer, None));
    }
    for id in before.keys().filter(|id| !images.contains_key(*id)) {
        connection.prepare_cached(DELETE)?.execute([id.as_str()])?;
    }
    let mut changed: Vec<_> = images.values().filter(|image| before.get(&image.id) != Some(image)).collect();
    // Who was the default makes room first.
    changed.sort_by_key(|image| image.is_default);
    for image in changed {
        let document = serde_json::to_string(image).map_err(Failure::unreadable)?;
        connection.prepare_cached(PUT)?.execute((image.id.as_str(), image.is_default, document))?;
    }
    Ok((answer, Some(images)))
}

#[async_trait]
impl ImageRegistry for SqliteImageRegistry {
    async fn command(&self, asked: ImageCommand) -> Result<ImageAnswer, StoreError> {
        let known = Arc::clone(&self.known);
        let remember = move |(_, images): &(ImageAnswer, Option<Images>)| {
            if let Some(images) = images {
                *known.write().unwrap_or_else(PoisonError::into_inner) = images.values().cloned().collect();
            }
        };
        let done = self.database.write_then(move |connection| command(connection, &asked), remember);
        Ok(done.await?.0)
    }

    async fn list(&self) -> Result<Arc<[Image]>, StoreError> {
        Ok(Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
