//! Getting an image: the engine's own, else from its registry, with news of how far it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bollard::models::CreateImageInfo;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Phase, Progress, Refusal, Refused, TaskEvent, TaskState};

use super::Shared;
use super::error::EngineError;
use super::image::{Image, with_tag};
use super::refusal::{Step, Trouble, trouble};
use crate::task_dir::follow::Follower;

/// How often news of a pull are told, and the pulling is asked whether anybody still wants it.
const OFTEN: Duration = Duration::from_millis(300);
/// A registry that says nothing for so long has forgotten us.
const SILENCE: Duration = Duration::from_mins(5);

/// A start that may need its image fetched.
pub(super) struct Wanted<'a> {
    pub(super) id: ExecutionId,
    pub(super) reference: &'a str,
    pub(super) platform: Option<&'a str>,
}

impl Wanted<'_> {
    fn fits(&self, image: &Image) -> bool {
        self.platform.is_none_or(|platform| image.is_for(platform))
    }
}

/// The image of a task. `None`: the gate was decided meanwhile.
pub(super) async fn image(
    shared: &Shared,
    follower: &Follower,
    wanted: &Wanted<'_>,
    is_over: impl Fn() -> BoxFuture<'static, bool> + Send,
) -> Result<Option<Image>, Trouble> {
    let reference = with_tag(wanted.reference);
    let other = match found(shared, wanted, &reference).await? {
        Some(image) if wanted.fits(&image) => return Ok(Some(image)),
        other => other,
    };
    let mut news = News { shared, follower, id: wanted.id, told: None, layers: BTreeMap::new() };
    news.tell();
    // Who comes second finds what the first one fetched.
    let lock = shared.pulls.of(format!("{reference} {}", wanted.platform.unwrap_or_default()));
    let turn = lock.lock().await;
    let fetched = match found(shared, wanted, &reference).await?.filter(|image| wanted.fits(image)) {
        Some(image) => Ok(Some(image)),
        None => fetch(shared, wanted, &reference, &mut news, is_over).await,
    };
    drop(turn);
    news.clear();
    fetched.map_err(|trouble| beside(trouble, other.as_ref()))
}

async fn found(shared: &Shared, wanted: &Wanted<'_>, reference: &str) -> Result<Option<Image>, Trouble> {
    let found = shared.engine.image(reference).await;
    Ok(found.map_err(|error| trouble(Step::Pull, wanted.reference, error))?.map(Image::new))
}

/// What is in the way, and what the engine has of the same name for another platform.
fn beside(trouble: Trouble, other: Option<&Image>) -> Trouble {
    match (trouble, other) {
        (
            Trouble::Refused(Refusal { of: Refused::Image, message })
            | Trouble::Passing(Refusal { of: Refused::Image, message }),
            Some(other),
        ) => {
            let message = format!("{message}; the engine has it for {} only", other.platform);
            Trouble::Refused(Refusal { of: Refused::Image, message })
        }
        (trouble, _) => trouble,
    }
}

async fn fetch(
    shared: &Shared,
    wanted: &Wanted<'_>,
    reference: &str,
    news: &mut News<'_>,
    is_over: impl Fn() -> BoxFuture<'static, bool> + Send,
) -> Result<Option<Image>, Trouble> {
    let in_words = |error: EngineError| trouble(Step::Pull, wanted.reference, error);
    let mut pulling = shared.engine.pull(reference, wanted.platform);
    let mut heard = Instant::now();
    loop {
        match tokio::time::timeout(OFTEN, pulling.next()).await {
            Ok(Some(told)) => {
                heard = Instant::now();
                news.take(told.map_err(in_words)?);
            }
            Ok(None) => break,
            Err(_) if heard.elapsed() > SILENCE => {
                let why =
                    format!("pulling `{}` came to a halt; look at the engine's network", wanted.reference);
                return Err(Trouble::Failed(why));
            }
            Err(_) => {}
        }
        if news.is_due() {
            if is_over().await {
                return Ok(None);
            }
            news.tell();
        }
    }
    match found(shared, wanted, reference).await?.filter(|image| wanted.fits(image)) {
        Some(image) => Ok(Some(image)),
        None => Err(Trouble::Failed(format!("`{}` was pulled and is not there", wanted.reference))),
    }
}

/// What followers are told of one pull.
struct News<'a> {
    shared: &'a Shared,
    follower: &'a Follower,
    id: ExecutionId,
    told: Option<Instant>,
    /// Bytes had and wanted of each layer; wanted is 0 while that is not known.
    layers: BTreeMap<String, Layer>,
}

#[derive(Default)]
struct Layer {
    had: u64,
    wanted: u64,
    is_done: bool,
}

impl News<'_> {
    fn take(&mut self, info: CreateImageInfo) {
        let (Some(id), Some(status)) = (info.id, info.status) else { return };
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(id).or_default();
        let amount = |of: Option<i64>| of.and_then(|of| u64::try_from(of).ok()).unwrap_or_default();
        if status == "Downloading"
            && let Some(detail) = info.progress_detail
        {
            (layer.had, layer.wanted) = (amount(detail.current), amount(detail.total));
        }
        if matches!(status.as_str(), "Pull complete" | "Already exists") {
            (layer.had, layer.is_done) = (layer.wanted, true);
        }
    }

    fn is_due(&self) -> bool {
        self.told.is_none_or(|told| told.elapsed() >= OFTEN)
    }

    fn tell(&mut self) {
        self.told = Some(Instant::now());
        self.note(Some(Progress { phase: Phase::Pulling, detail: detail(self.layers.values()) }));
    }

    fn clear(&self) {
        self.note(None);
    }

    fn note(&self, progress: Option<Progress>) {
        if self.shared.jobs.note(self.id, progress) {
            self.follower.tell(TaskEvent { id: self.id, state: TaskState::Pending });
        }
    }
}

/// As `2 of 7 layers, 41 of 97 MB`; `None` before anything is known.
fn detail<'a>(layers: impl Iterator<Item = &'a Layer> + Clone) -> Option<String> {
    let count = layers.clone().count();
    if count == 0 {
        return None;
    }
    let done = layers.clone().filter(|layer| layer.is_done).count();
    let (had, wanted) = layers.fold((0, 0), |sum, layer| (sum.0 + layer.had, sum.1 + layer.wanted));
    let bytes = match wanted {
        0 => String::new(),
        wanted => format!(", {} of {} MB", had / 1_000_000, wanted.div_ceil(1_000_000)),
    };
    Some(format!("{done} of {count} layers{bytes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_layers_and_bytes() {
        let layer = |had, wanted, is_done| Layer { had, wanted, is_done };
        assert_eq!(detail([].iter()), None);
        assert_eq!(detail([layer(0, 0, true)].iter()).as_deref(), Some("1 of 1 layers"));
        let some = [layer(5_000_000, 5_000_000, true), layer(2_400_000, 7_900_001, false)];
        assert_eq!(detail(some.iter()).as_deref(), Some("1 of 2 layers, 7 of 13 MB"));
    }
}
