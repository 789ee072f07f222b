//! What a run and its caller are told of a secret store that does not do as it should.

use std::sync::Arc;
use std::time::Duration;

use runvoy_core::Error;
use runvoy_core::api::RunRequest;
use runvoy_core::port::{SecretCreated, StoreError};
use runvoy_core::secrets::SecretValue;
use runvoy_core::state::{Reason, Status};
use runvoy_core::testing::mocks::MockSecretStore;
use runvoy_core::testing::secret_store::some_secret;

use super::secrets::{given, new, pair, request, run};
use super::service::Bench;

#[tokio::test]
async fn a_name_that_somebody_takes_at_the_same_moment_is_told_as_taken() {
    let mut raced = MockSecretStore::new();
    let secret = some_secret();
    let name = secret.name.to_string();
    let mut asked = 0;
    raced.expect_get().returning(move |_| {
        asked += 1;
        Ok((asked > 1).then(|| secret.clone()))
    });
    raced.expect_create().returning(|_, _| Ok(SecretCreated::Taken));
    let bench = Bench::with_secrets(Arc::new(raced)).await;
    let error = bench.runvoy.create_secret(&bench.caller, &new(&name, "K", "v")).await.unwrap_err();
    assert!(matches!(error, Error::SecretExists { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_is_down_is_no_missing_secret_and_what_was_accepted_waits_for_it() {
    let mut down = MockSecretStore::new();
    let secret = some_secret();
    let (name, stored) = (secret.name.clone(), secret.clone());
    down.expect_get().returning(move |_| Ok(Some(stored.clone())));
    down.expect_list().returning(|| Err(StoreError::unavailable("down")));
    down.expect_delete().returning(|_, _| Err(StoreError::unavailable("down")));
    let mut tries = 0;
    down.expect_reveal().returning(move |_, _| {
        tries += 1;
        if tries < 3 {
            return Err(StoreError::unavailable("down"));
        }
        Ok(Some((secret.clone(), SecretValue::new("late"))))
    });
    let bench = Bench::with_secrets(Arc::new(down)).await;
    let error = bench.runvoy.secrets(&bench.caller).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { what: "the secret store", .. }), "{error}");
    let error = bench.runvoy.delete_secret(&bench.caller, name.as_str()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let request = RunRequest { secrets: vec![name.to_string()], ..request() };
    let id = run(&bench, request).await.id;
    assert_eq!((bench.record(id).await.status, bench.world.ids().len()), (Status::Starting, 0));
    for _ in 0..2 {
        bench.clock.advance(Duration::from_secs(61));
        bench.pass().await;
    }
    assert_eq!(given(&bench, id), [pair("TOKEN", "late".to_owned())]);
}

#[tokio::test]
async fn a_value_that_nobody_can_open_any_more_ends_the_start_in_words() {
    let mut broken = MockSecretStore::new();
    let secret = some_secret();
    let name = secret.name.to_string();
    broken.expect_get().returning(move |_| Ok(Some(secret.clone())));
    broken.expect_reveal().returning(|_, _| {
        Err(StoreError::Unavailable { retryable: false, source: "sealed with another key".into() })
    });
    let bench = Bench::with_secrets(Arc::new(broken)).await;
    let record = run(&bench, RunRequest { secrets: vec![name.clone()], ..request() }).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::StartFailed)));
    let detail = record.status_detail.unwrap();
    assert!(detail.contains(&format!("runvoy secrets update {name}")), "{detail}");
}
