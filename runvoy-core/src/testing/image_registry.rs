//! What every [`ImageRegistry`] owes.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Subject;
use crate::id::RequestId;
use crate::images::{
    Image, ImageAnswer, ImageChange, ImageCommand, ImageId, ImageManner, ImageSettings, find,
};
use crate::limits;
use crate::port::ImageRegistry;

type Registry = Arc<dyn ImageRegistry>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn ImageRegistry>` that answers a new, empty registry.
#[macro_export]
macro_rules! image_registry_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; image_registry;
            shared:;
            own:
                the_first_image_is_the_default_unless_it_is_not_to_be
                a_new_default_takes_the_place_of_the_old
                an_image_registered_again_is_the_same_one
                what_is_named_changes_and_the_rest_stays
                a_removed_image_is_gone_and_another_is_not
                a_registry_is_filled_once
                there_are_no_more_than_may_be
                of_many_at_once_one_is_the_default
                images_survive_reopening;
        }
    };
}

fn image(name: &str, cpu: u64) -> Image {
    let settings = ImageSettings {
        cpu,
        memory: 512,
        platform: Some("linux/arm64".parse().unwrap()),
        task_role_name: Some("deployer".to_owned()),
        task_execution_role_name: None,
    };
    Image {
        id: ImageId::new(&name.parse().unwrap(), name, &settings),
        image: name.to_owned(),
        settings,
        manner: ImageManner::default(),
        is_default: false,
        created_by: "ops@acme.test".parse().unwrap(),
        owned_by: vec!["ops@acme.test".parse().unwrap()],
        created_at: Timestamp::UNIX_EPOCH,
        created_by_request_id: RequestId::from_u128(1),
        modified_by_request_id: RequestId::from_u128(1),
    }
}

fn as_default(is_default: bool) -> ImageChange {
    ImageChange { is_default: Some(is_default), ..ImageChange::default() }
}

async fn tell(registry: &Registry, command: ImageCommand) -> ImageAnswer {
    registry.command(command).await.unwrap()
}

async fn register(registry: &Registry, image: Image, change: ImageChange) -> Image {
    match tell(registry, ImageCommand::Register { image: Box::new(image), change }).await {
        ImageAnswer::Done(image) => *image,
        other => panic!("not registered: {other:?}"),
    }
}

async fn defaults(registry: &Registry) -> Vec<String> {
    let images = registry.list().await.unwrap();
    images.iter().filter(|image| image.is_default).map(|image| image.image.clone()).collect()
}

/// Somebody who has but one image wants that one.
pub async fn the_first_image_is_the_default_unless_it_is_not_to_be(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let first = register(&registry, image("b:1", 1), ImageChange::default()).await;
    assert!(first.is_default);
    assert!(!register(&registry, image("a:1", 1), ImageChange::default()).await.is_default);
    assert_eq!(defaults(&registry).await, ["b:1"]);
    let images = registry.list().await.unwrap();
    assert!(images.iter().map(|image| &image.id).is_sorted() && images.len() == 2);
    tell(&registry, ImageCommand::Remove(image("a:1", 1).id)).await;
    tell(&registry, ImageCommand::Remove(first.id)).await;
    register(&registry, image("c:1", 1), as_default(false)).await;
    assert!(defaults(&registry).await.is_empty());
}

/// There is one default at most.
pub async fn a_new_default_takes_the_place_of_the_old(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let old = register(&registry, image("a:1", 1), ImageChange::default()).await;
    register(&registry, image("a:2", 1), as_default(true)).await;
    assert_eq!(defaults(&registry).await, ["a:2"]);
    let request = RequestId::from_u128(2);
    let change = ImageCommand::Change { id: old.id.clone(), change: as_default(true), request };
    assert!(matches!(tell(&registry, change).await, ImageAnswer::Done(image) if image.is_default));
    assert_eq!(defaults(&registry).await, ["a:1"]);
    tell(&registry, ImageCommand::Change { id: old.id, change: as_default(false), request }).await;
    assert!(defaults(&registry).await.is_empty());
}

/// No duplicate, and nothing that was said of it is forgotten.
pub async fn an_image_registered_again_is_the_same_one(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let change = ImageChange { user: Some("app".to_owned()), ..ImageChange::default() };
    let first = register(&registry, image("a:1", 1), change).await;
    let again = Image { modified_by_request_id: RequestId::from_u128(2), ..image("a:1", 1) };
    let again = register(&registry, again, ImageChange::default()).await;
    assert_eq!(again, Image { modified_by_request_id: RequestId::from_u128(2), ..first });
    assert_eq!(registry.list().await.unwrap().len(), 1);
    register(&registry, image("a:1", 2), ImageChange::default()).await;
    assert_eq!(registry.list().await.unwrap().len(), 2, "other settings make another image");
}

/// A change says what is to be otherwise.
pub async fn what_is_named_changes_and_the_rest_stays(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let id = register(&registry, image("a:1", 1), ImageChange::default()).await.id;
    let request = RequestId::from_u128(3);
    let all = ImageChange {
        is_default: None,
        user: Some("1000:1000".to_owned()),
        stop_signal: Some(Some("INT".parse().unwrap())),
        networks: Some(vec!["build".to_owned()]),
        read_only: Some(true),
    };
    tell(&registry, ImageCommand::Change { id: id.clone(), change: all, request }).await;
    let some = ImageChange { user: Some(String::new()), ..ImageChange::default() };
    tell(&registry, ImageCommand::Change { id: id.clone(), change: some, request }).await;
    let images = registry.list().await.unwrap();
    let found = find(&images, id.as_str()).unwrap();
    let manner = ImageManner {
        user: None,
        stop_signal: Some("INT".parse().unwrap()),
        networks: vec!["build".to_owned()],
        read_only: true,
    };
    assert_eq!((&found.manner, found.is_default, found.modified_by_request_id), (&manner, true, request));
    let unknown = ImageCommand::Change { id: image("x:1", 1).id, change: as_default(true), request };
    assert_eq!(tell(&registry, unknown).await, ImageAnswer::Absent);
    assert_eq!(defaults(&registry).await, ["a:1"], "what is not there takes nobody's place");
}

/// A removal is of one image, and is told once.
pub async fn a_removed_image_is_gone_and_another_is_not(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let removed = register(&registry, image("a:1", 1), ImageChange::default()).await;
    register(&registry, image("a:1", 2), ImageChange::default()).await;
    let remove = ImageCommand::Remove(removed.id.clone());
    assert_eq!(tell(&registry, remove.clone()).await, ImageAnswer::Done(Box::new(removed)));
    assert_eq!(tell(&registry, remove).await, ImageAnswer::Absent);
    assert_eq!(registry.list().await.unwrap().len(), 1);
}

/// Only an empty registry is filled.
pub async fn a_registry_is_filled_once(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let fill = |name| ImageCommand::Bootstrap(Box::new(image(name, 0)));
    assert!(matches!(tell(&registry, fill("a:1")).await, ImageAnswer::Done(image) if image.is_default));
    assert_eq!(tell(&registry, fill("b:1")).await, ImageAnswer::Present);
    assert_eq!(defaults(&registry).await, ["a:1"]);
}

/// A full registry takes nothing new, and still changes what it has.
pub async fn there_are_no_more_than_may_be(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    for cpu in 0..limits::IMAGES as u64 {
        register(&registry, image("a:1", cpu), ImageChange::default()).await;
    }
    let more = ImageCommand::Register { image: Box::new(image("b:1", 1)), change: ImageChange::default() };
    assert_eq!(tell(&registry, more).await, ImageAnswer::Full);
    register(&registry, image("a:1", 7), as_default(true)).await;
    assert_eq!(registry.list().await.unwrap().len(), limits::IMAGES);
}

/// However many want to be it.
pub async fn of_many_at_once_one_is_the_default(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let mut clients = JoinSet::new();
    for cpu in 0..16 {
        let registry = Arc::clone(&registry);
        clients.spawn(async move { register(&registry, image("a:1", cpu), as_default(true)).await });
    }
    clients.join_all().await;
    assert_eq!(defaults(&registry).await, ["a:1"]);
    assert_eq!(registry.list().await.unwrap().len(), 16);
}

/// Nothing of an image is lost with the process.
pub async fn images_survive_reopening(subject: Subject<dyn ImageRegistry>) {
    let registry = subject.shared();
    let change = ImageChange { networks: Some(vec!["build".to_owned()]), ..ImageChange::default() };
    register(&registry, image("org/a:1", 1), change).await;
    register(&registry, image("org/a:1", 2), as_default(true)).await;
    let before = registry.list().await.unwrap();
    drop(registry);
    let Some(subject) = subject.reopen() else { return };
    assert_eq!(subject.shared().list().await.unwrap(), before);
}
