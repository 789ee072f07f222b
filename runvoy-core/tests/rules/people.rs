//! People in the stories of `crash`: a token gives one key, what was told is so, and the last admin stays.

use std::sync::Arc;

use runvoy_core::api::{CreateUserRequest, RotateUserRequest};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{AuditLog, KeyStore};
use runvoy_core::{Caller, ClaimedKey, Error, Invitation, RequestContext, Runvoy};

use super::fuse::Fuse;

/// What is done to, or by, people.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Invite,
    Claim,
    /// The same token on both instances, call by call.
    ClaimAtOnce,
    Rotate,
    Revoke,
    RevokeAdmin,
    Keep,
}

impl Act {
    pub(crate) const ALL: [Self; 7] = [
        Self::Invite,
        Self::Claim,
        Self::ClaimAtOnce,
        Self::Rotate,
        Self::Revoke,
        Self::RevokeAdmin,
        Self::Keep,
    ];
}

/// What has to be true of a key that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Good,
    /// Whoever was to make it worthless died over it.
    Doubtful,
    Worthless,
}

struct Token {
    email: String,
    text: String,
    key: Option<ApiKey>,
    fate: Fate,
}

type Instances = [(Runvoy, Arc<Fuse>); 2];

/// What people were told.
#[derive(Default)]
pub(crate) struct People(Vec<Token>);

impl People {
    /// Plays one step; an instance that dies over it is left so.
    pub(crate) async fn take(&mut self, instances: &Instances, at: usize, act: Act, who: usize, admin: &str) {
        let (runvoy, fuse) = &instances[at % 2];
        let email = format!("person-{}@acme.test", who % 2);
        match act {
            Act::Invite => {
                let request = CreateUserRequest {
                    email: email.clone(),
                    role: "developer".to_owned(),
                    ..CreateUserRequest::default()
                };
                let invite = async { runvoy.create_user(&known(runvoy, admin).await, &request).await };
                if let Some(invitation) = told(fuse.live(invite).await) {
                    let overwritten = self.0.iter().any(|token| token.email == email && token.key.is_some());
                    assert!(!overwritten, "{email} had a key and was made anew");
                    self.give(email, &invitation);
                }
            }
            Act::Claim => {
                let Some(pick) = who.checked_rem(self.0.len()) else { return };
                let claimed = fuse.live(claim(runvoy, &self.0[pick].text)).await;
                self.fetched(pick, told(claimed));
            }
            Act::ClaimAtOnce => {
                let Some(pick) = who.checked_rem(self.0.len()) else { return };
                let text = &self.0[pick].text;
                let [(a, fuse_a), (b, fuse_b)] = instances;
                let (one, other) = tokio::join!(fuse_a.live(claim(a, text)), fuse_b.live(claim(b, text)));
                self.fetched(pick, told(one));
                self.fetched(pick, told(other));
            }
            Act::Rotate => {
                let request = RotateUserRequest { email: email.clone(), expires_in: None };
                let rotate = async { runvoy.rotate_user(&known(runvoy, admin).await, &request).await };
                let done = fuse.live(rotate).await;
                self.ended(&email, done.as_ref());
                if let Some(invitation) = told(done) {
                    self.give(email, &invitation);
                }
            }
            Act::Revoke => {
                let revoke = async { runvoy.revoke_user(&known(runvoy, admin).await, &email).await };
                let done = fuse.live(revoke).await;
                self.ended(&email, done.as_ref());
                told(done);
            }
            Act::RevokeAdmin => {
                let revoke =
                    async { runvoy.revoke_user(&known(runvoy, admin).await, "admin@localhost").await };
                assert!(told(fuse.live(revoke).await).is_none(), "the last admin is gone");
            }
            Act::Keep => drop(fuse.live(async { runvoy.keep_people().await.unwrap() }).await),
        }
    }

    fn give(&mut self, email: String, invitation: &Invitation) {
        let text = invitation.claim_token.reveal().to_owned();
        self.0.push(Token { email, text, key: None, fate: Fate::Good });
    }

    fn fetched(&mut self, pick: usize, claimed: Option<ClaimedKey>) {
        let Some(claimed) = claimed else { return };
        let token = &mut self.0[pick];
        assert!(token.key.is_none(), "one token, two keys");
        assert_ne!(token.fate, Fate::Worthless, "a token that was replaced gave a key");
        assert_eq!(claimed.user.email.as_str(), token.email);
        // Whatever was in doubt has not happened.
        token.fate = Fate::Good;
        token.key = Some(claimed.key);
    }

    fn ended<T>(&mut self, email: &str, done: Option<&Result<T, Error>>) {
        let fate = match done {
            Some(Ok(_)) => Fate::Worthless,
            Some(Err(_)) => return,
            None => Fate::Doubtful,
        };
        let tokens = self.0.iter_mut().filter(|token| token.email == email && token.fate != Fate::Worthless);
        tokens.for_each(|token| token.fate = fate);
    }

    /// Whoever was given a key has it, until they were told that it is worthless.
    pub(crate) async fn check(&self, keys: &dyn KeyStore) {
        for token in &self.0 {
            let Some(key) = &token.key else { continue };
            let found = keys.find(&key.hash()).await.unwrap().map(|record| record.user);
            let is_good =
                found.as_ref().is_some_and(|user| !user.revoked && user.email.as_str() == token.email);
            match token.fate {
                Fate::Good => assert!(is_good, "the key of {} is lost: {found:?}", token.email),
                Fate::Worthless => assert!(!is_good, "the key of {} still opens", token.email),
                Fate::Doubtful => {}
            }
        }
    }

    /// No key was handed out of which there is no record.
    pub(crate) async fn check_audit(&self, audit: &dyn AuditLog) {
        let records = audit.read(0, 10_000).await.unwrap();
        let events: Vec<_> = records.iter().map(|record| record.event().unwrap()).collect();
        for token in self.0.iter().filter(|token| token.key.is_some()) {
            let is_claim = |user: &str, action: &str| user == token.email && action == "claim_key";
            assert!(events.iter().any(|event| is_claim(event.user.as_str(), &event.action)));
        }
    }
}

async fn known(runvoy: &Runvoy, key: &str) -> Caller {
    runvoy.authenticate(Some(key), RequestContext::internal()).await.unwrap()
}

async fn claim(runvoy: &Runvoy, token: &str) -> Result<ClaimedKey, Error> {
    runvoy.claim(token, RequestContext::internal()).await
}

/// What somebody was told, if it was a yes; a no has to be one of those that people get.
fn told<T>(done: Option<Result<T, Error>>) -> Option<T> {
    match done? {
        Ok(value) => Some(value),
        Err(Error::Conflict { .. } | Error::NotFound { .. }) => None,
        Err(other) => panic!("nothing here refuses that: {other}"),
    }
}
