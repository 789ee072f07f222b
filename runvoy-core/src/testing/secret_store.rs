//! What every [`SecretStore`] owes.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Subject;
use crate::id::{RequestId, SecretName};
use crate::limits;
use crate::port::{SecretCreated, SecretStore};
use crate::secrets::{Secret, SecretChange, SecretValue};

type Store = Arc<dyn SecretStore>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn SecretStore>` that answers a new, empty store.
#[macro_export]
macro_rules! secret_store_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; secret_store;
            shared:
                a_secret_is_what_it_was_created_as
                a_name_belongs_to_one_secret
                what_is_named_changes_and_the_rest_stays
                a_deleted_secret_is_gone_and_its_name_is_free
                nothing_is_done_to_another_secret_of_the_same_name
                values_come_back_byte_for_byte
                what_opens_is_found_sound
                of_many_at_once_one_gets_the_name
                of_many_changes_none_is_lost;
            own:
                a_list_has_all_of_them_by_name
                there_are_no_more_than_may_be
                secrets_survive_reopening;
        }
    };
}

/// A secret that no other case knows.
pub fn some_secret() -> Secret {
    let request = RequestId::random();
    Secret {
        name: format!("secret-{request}").parse().unwrap(),
        key_name: "TOKEN".to_owned(),
        description: "for \"CI\", ü".to_owned(),
        version: 1,
        created_by: "dev@acme.test".parse().unwrap(),
        owned_by: vec!["dev@acme.test".parse().unwrap(), "ops@acme.test".parse().unwrap()],
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        updated_by: "dev@acme.test".parse().unwrap(),
        created_by_request_id: request,
        modified_by_request_id: request,
    }
}

/// A change of nothing.
pub fn some_change() -> SecretChange {
    let (by, at) = ("ops@acme.test".parse().unwrap(), "2026-01-02T03:04:05Z".parse().unwrap());
    SecretChange::nothing(by, at, RequestId::random())
}

async fn create(store: &Store, secret: &Secret, value: &str) -> SecretCreated {
    store.create(secret.clone(), SecretValue::new(value)).await.unwrap()
}

/// The value and its version.
async fn value(store: &Store, secret: &Secret) -> Option<(u64, String)> {
    let revealed = store.reveal(&secret.name, secret.created_by_request_id).await.unwrap();
    revealed.map(|(secret, value)| (secret.version, value.reveal().to_owned()))
}

/// What was put in comes out.
pub async fn a_secret_is_what_it_was_created_as(store: &Store) {
    let secret = some_secret();
    assert_eq!(store.get(&secret.name).await.unwrap(), None);
    assert_eq!(value(store, &secret).await, None);
    assert_eq!(create(store, &secret, "s3cr3t").await, SecretCreated::Made);
    assert_eq!(store.get(&secret.name).await.unwrap(), Some(secret.clone()));
    let revealed = store.reveal(&secret.name, secret.created_by_request_id).await.unwrap();
    assert_eq!(revealed, Some((secret, SecretValue::new("s3cr3t"))));
}

/// A second one changes nothing of the first.
pub async fn a_name_belongs_to_one_secret(store: &Store) {
    let first = some_secret();
    let second = Secret { name: first.name.clone(), key_name: "OTHER".to_owned(), ..some_secret() };
    assert_eq!(create(store, &first, "one").await, SecretCreated::Made);
    assert_eq!(create(store, &second, "two").await, SecretCreated::Taken);
    assert_eq!(create(store, &first, "two").await, SecretCreated::Taken);
    assert_eq!(store.get(&first.name).await.unwrap(), Some(first.clone()));
    assert_eq!(value(store, &first).await, Some((1, "one".to_owned())));
}

/// A version is one of the value.
pub async fn what_is_named_changes_and_the_rest_stays(store: &Store) {
    let secret = some_secret();
    let made_by = secret.created_by_request_id;
    create(store, &secret, "one").await;
    let change = SecretChange { key_name: Some("OTHER".to_owned()), ..some_change() };
    let changed = store.update(&secret.name, made_by, change.clone()).await.unwrap().unwrap();
    let expected = Secret {
        key_name: "OTHER".to_owned(),
        updated_by: change.by,
        updated_at: change.at,
        modified_by_request_id: change.request,
        ..secret.clone()
    };
    assert_eq!(changed, expected);
    assert_eq!(value(store, &secret).await, Some((1, "one".to_owned())));
    let change = SecretChange { value: Some(SecretValue::new("two")), ..some_change() };
    let changed = store.update(&secret.name, made_by, change.clone()).await.unwrap().unwrap();
    assert_eq!((changed.version, changed.key_name.as_str()), (2, "OTHER"));
    assert_eq!(changed.modified_by_request_id, change.request);
    assert_eq!(store.get(&secret.name).await.unwrap(), Some(changed));
    assert_eq!(value(store, &secret).await, Some((2, "two".to_owned())));
    let change = SecretChange { description: Some("text".to_owned()), ..some_change() };
    let changed = store.update(&secret.name, made_by, change).await.unwrap().unwrap();
    assert_eq!((changed.version, changed.description.as_str()), (2, "text"));
    assert_eq!(value(store, &secret).await, Some((2, "two".to_owned())), "it opens as what it is now");
}

/// Its value goes with it.
pub async fn a_deleted_secret_is_gone_and_its_name_is_free(store: &Store) {
    let secret = some_secret();
    create(store, &secret, "one").await;
    let deleted = store.delete(&secret.name, secret.created_by_request_id).await.unwrap();
    assert_eq!(deleted, Some(secret.clone()));
    assert_eq!(store.get(&secret.name).await.unwrap(), None);
    assert_eq!(value(store, &secret).await, None);
    assert_eq!(store.delete(&secret.name, secret.created_by_request_id).await.unwrap(), None);
    let next = Secret { name: secret.name, ..some_secret() };
    assert_eq!(create(store, &next, "two").await, SecretCreated::Made);
    assert_eq!(value(store, &next).await, Some((1, "two".to_owned())));
}

/// Whoever was allowed to something of the one that was there before gets nothing of this one.
pub async fn nothing_is_done_to_another_secret_of_the_same_name(store: &Store) {
    let (secret, other) = (some_secret(), RequestId::random());
    create(store, &secret, "one").await;
    let change = SecretChange { value: Some(SecretValue::new("two")), ..some_change() };
    assert_eq!(store.update(&secret.name, other, change).await.unwrap(), None);
    assert_eq!(store.reveal(&secret.name, other).await.unwrap(), None);
    assert_eq!(store.delete(&secret.name, other).await.unwrap(), None);
    assert_eq!(store.get(&secret.name).await.unwrap(), Some(secret.clone()));
    assert_eq!(value(store, &secret).await, Some((1, "one".to_owned())));
}

/// Keys of several lines, text in any script, the largest.
pub async fn values_come_back_byte_for_byte(store: &Store) {
    let largest = "x\n".repeat(limits::SECRET_BYTES / 2);
    for text in
        ["-----BEGIN\r\nkey\n-----END\n", " ", "\u{1}\u{7f}\u{feff}", "schl\u{fc}ssel \u{1f511}", &largest]
    {
        let secret = some_secret();
        create(store, &secret, text).await;
        assert_eq!(value(store, &secret).await, Some((1, text.to_owned())));
    }
}

/// However many want it.
pub async fn of_many_at_once_one_gets_the_name(store: &Store) {
    let name: SecretName = some_secret().name;
    let mut clients = JoinSet::new();
    for number in 0..16 {
        let (store, secret) = (Arc::clone(store), Secret { name: name.clone(), ..some_secret() });
        clients.spawn(async move {
            let created = create(&store, &secret, &format!("value {number}")).await;
            (created == SecretCreated::Made).then_some((secret, number))
        });
    }
    let made: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let [(secret, number)] = made.as_slice() else { panic!("{} got it", made.len()) };
    assert_eq!(value(store, secret).await, Some((1, format!("value {number}"))));
}

/// Each makes a version of its own, and value and version belong together at any time.
pub async fn of_many_changes_none_is_lost(store: &Store) {
    let secret = some_secret();
    create(store, &secret, "value 1").await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (store, secret) = (Arc::clone(store), secret.clone());
        clients.spawn(async move {
            let mut versions = Vec::new();
            for _ in 0..4 {
                let change = SecretChange { value: Some(SecretValue::new("next")), ..some_change() };
                let made_by = secret.created_by_request_id;
                let changed = store.update(&secret.name, made_by, change).await.unwrap().unwrap();
                versions.push(changed.version);
                let (version, text) = value(&store, &secret).await.unwrap();
                assert!(version >= changed.version && text == "next");
            }
            versions
        });
    }
    let mut versions: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=33).collect::<Vec<_>>());
}

/// Also after a change of either.
pub async fn what_opens_is_found_sound(store: &Store) {
    let secret = some_secret();
    create(store, &secret, "one").await;
    for value in [None, Some(SecretValue::new("two"))] {
        let change = SecretChange { key_name: Some("OTHER".to_owned()), value, ..some_change() };
        store.update(&secret.name, secret.created_by_request_id, change).await.unwrap().unwrap();
        assert!(!store.verify().await.unwrap().contains(&secret.name));
    }
}

/// Without a value: the shape has no place for one.
pub async fn a_list_has_all_of_them_by_name(subject: Subject<dyn SecretStore>) {
    let store = subject.shared();
    assert_eq!(store.list().await.unwrap(), []);
    let mut secrets = Vec::new();
    for name in ["b", "a.1", "B", "a-1"] {
        let secret = Secret { name: name.parse().unwrap(), ..some_secret() };
        create(&store, &secret, "value").await;
        secrets.push(secret);
    }
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(store.list().await.unwrap(), secrets);
}

/// A full store takes nothing new, and still changes what it has.
pub async fn there_are_no_more_than_may_be(subject: Subject<dyn SecretStore>) {
    let store = subject.shared();
    let mut clients = JoinSet::new();
    for _ in 0..limits::STORED_SECRETS {
        let store = Arc::clone(&store);
        clients.spawn(async move { create(&store, &some_secret(), "value").await });
    }
    assert!(clients.join_all().await.into_iter().all(|created| created == SecretCreated::Made));
    assert_eq!(create(&store, &some_secret(), "value").await, SecretCreated::Full);
    let known = store.list().await.unwrap();
    assert_eq!(known.len(), limits::STORED_SECRETS);
    let first = known.first().unwrap();
    assert_eq!(create(&store, first, "value").await, SecretCreated::Taken);
    store.delete(&first.name, first.created_by_request_id).await.unwrap().unwrap();
    assert_eq!(create(&store, &some_secret(), "value").await, SecretCreated::Made);
}

/// Nothing of a secret is lost with the process.
pub async fn secrets_survive_reopening(subject: Subject<dyn SecretStore>) {
    let store = subject.shared();
    let secret = some_secret();
    create(&store, &secret, "one").await;
    let change = SecretChange { value: Some(SecretValue::new("two")), ..some_change() };
    let changed = store.update(&secret.name, secret.created_by_request_id, change).await.unwrap();
    drop(store);
    let Some(subject) = subject.reopen() else { return };
    let store = subject.shared();
    assert_eq!(store.get(&secret.name).await.unwrap(), changed);
    assert_eq!(value(&store, &secret).await, Some((2, "two".to_owned())));
}
