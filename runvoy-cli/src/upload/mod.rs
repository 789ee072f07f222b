//! `run --upload DIR`: a directory is packed, and sent where the server lacks it.

mod pack;
mod walk;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runvoy_core::api::RunRequest;

use self::pack::Packed;
use crate::client::{Backoff, Client, is_passing};
use crate::error::{CliError, Kind};
use crate::printer::Printer;
use crate::progress::Progress;

/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(200);
/// A server that takes nothing for so long is given up.
const STALL: Duration = Duration::from_mins(1);
/// How long a broken upload is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Blocks of the bar.
const BLOCKS: u64 = 20;

/// Makes a run start on a directory as it is now.
pub(crate) async fn bring(
    client: &Client,
    dir: Option<&PathBuf>,
    request: &mut RunRequest,
    printer: Printer,
) -> Result<(), CliError> {
    let Some(dir) = dir else { return Ok(()) };
    let mut progress = printer.progress(&format!("packing {}", dir.display()));
    let packed = packed(dir.clone()).await?;
    let uploaded = upload(client, &packed, &mut progress).await;
    progress.clear();
    let is_new = uploaded?;
    for name in &packed.left_out {
        printer.warn(&format!("`{name}` is neither file, directory nor link; it is left out"));
    }
    if is_new {
        let files = if packed.files == 1 { "1 file".to_owned() } else { format!("{} files", packed.files) };
        printer.note(&format!("uploaded {files} of {}, {}", dir.display(), bytes(packed.size)));
    }
    request.code = Some(packed.digest.to_string());
    Ok(())
}

/// Packs on a thread that may block.
async fn packed(dir: PathBuf) -> Result<Packed, CliError> {
    let work = move || {
        let root = dir.canonicalize().map_err(|error| {
            CliError::new(Kind::Usage, format!("`{}` cannot be uploaded: {error}", dir.display()))
        })?;
        if !root.is_dir() {
            let what = format!("`{}` is no directory", dir.display());
            return Err(
                CliError::new(Kind::Usage, what).hint("`--upload` takes the directory that is to be sent")
            );
        }
        pack::pack(&root)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(packed) => packed,
        Err(error) => Err(CliError::new(Kind::NotRun, "packing the code crashed").because(error)),
    }
}

/// Sends an archive that the server lacks; whether it did. What breaks is tried again: the same archive twice is the
/// same.
async fn upload(client: &Client, packed: &Packed, progress: &mut Progress) -> Result<bool, CliError> {
    let mut backoff = Backoff::new(PATIENCE);
    loop {
        let tried = match client.has_code(packed.digest).await {
            Ok(true) => return Ok(false),
            Ok(false) => send(client, packed, progress).await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(()) => return Ok(true),
            Err(error) if !is_passing(&error) => return Err(error),
            Err(error) if !backoff.pause(None).await => return Err(error),
            Err(_) => {}
        }
    }
}

/// Sends it once, and shows how far that is.
async fn send(client: &Client, packed: &Packed, progress: &mut Progress) -> Result<(), CliError> {
    let file: File = packed.file.try_clone().map_err(|error| unreadable(Path::new("the archive"), error))?;
    let sent = Arc::new(AtomicU64::new(0));
    let mut sending = std::pin::pin!(client.send_code(packed.digest, file, packed.size, Arc::clone(&sent)));
    let mut tick = tokio::time::interval(TICK);
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        tokio::select! {
            done = &mut sending => return done.map(drop),
            _ = tick.tick() => {}
        }
        let now = sent.load(Ordering::Relaxed);
        progress.set(&bar(now, packed.size));
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > STALL {
            let what = format!("the upload stands still at {} of {}", bytes(now), bytes(packed.size));
            return Err(CliError::new(Kind::Unavailable, what).hint("try again"));
        }
    }
}

/// How far it is, on one line.
fn bar(sent: u64, size: u64) -> String {
    let full = sent.min(size).saturating_mul(BLOCKS).checked_div(size).unwrap_or(BLOCKS);
    let block = |at| if at < full { '█' } else { '░' };
    let blocks: String = (0..BLOCKS).map(block).collect();
    format!("uploading {blocks} {} of {}", bytes(sent.min(size)), bytes(size))
}

/// A number of bytes, for people.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} bytes"),
    }
}

/// A limit, for people: in units of 1024 where it is just so many, as it is written down.
fn limit(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit && count.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", count / unit),
        None => bytes(count),
    }
}

/// A name without what would drive a terminal.
fn shown(name: &Path) -> String {
    name.to_string_lossy().chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

fn unreadable(name: &Path, error: io::Error) -> CliError {
    let what = format!("`{}` cannot be read: {error}", shown(name));
    CliError::new(Kind::Usage, what).hint("leave it out by .runvoyignore, or make it readable").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_fits_a_line() {
        assert_eq!(bar(0, 97_000_000), "uploading ░░░░░░░░░░░░░░░░░░░░ 0 bytes of 97.0 MB");
        assert_eq!(bar(41_200_000, 97_000_000), "uploading ████████░░░░░░░░░░░░ 41.2 MB of 97.0 MB");
        assert_eq!(bar(5, 5), "uploading ████████████████████ 5 bytes of 5 bytes");
        assert_eq!([limit(512 << 20), limit(4 << 30), limit(100_000)], ["512 MiB", "4 GiB", "100.0 kB"]);
        assert_eq!(bar(0, 0), "uploading ████████████████████ 0 bytes of 0 bytes");
    }
}
