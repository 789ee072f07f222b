//! A pass of reconciliation that somebody asked for, and what else is worth knowing of what is stored.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::reconcile::Found;
use super::{Caller, Error, ReconcileOptions, ReconcileReport, Runvoy};
use crate::api::{AuthorizerStatus, ComputeStatus, HealthIssue, HealthReport, IdentityStatus, SecretsStatus};
use crate::execution::Execution;
use crate::id::{Email, Role, SecretName};
use crate::images::Image;
use crate::limits;
use crate::port::{Action, AuthzRequest, Decision, ListQuery, Principal, Resource};
use crate::secrets::Secret;
use crate::state::Status;

/// Things that a report names, of each kind.
const NAMED: usize = 100;

impl Runvoy {
    /// Makes a pass of [`reconcile`](Self::reconcile), and reports it together with what is amiss with secrets, roles and
    /// owners. Who asks during another's check is told to come back: it opens every secret there is.
    pub async fn check_health(&self, caller: &Caller) -> Result<HealthReport, Error> {
        let granted = self.authorize(caller, Action::Reconcile, Resource::System, None).await?;
        let Ok(turn) = Arc::clone(&self.inner.checking).try_acquire_owned() else {
            let message = "another check is being made; try again in a moment".to_owned();
            return Err(Error::Busy { message });
        };
        self.record(granted, None, None).await?;
        let this = self.clone();
        let checked = self.although_the_caller_goes(async move {
            let _turn = turn;
            let report = this.reconcile(ReconcileOptions::default()).await?;
            Ok((report, this.spoilt_secrets().await?))
        });
        let (report, spoilt) = checked.await?;
        let (images, live) = (self.known_images().await?, self.live().await?);
        let secrets = self.shown_secrets(caller).await?;
        let mut issues: Vec<_> = report.found.iter().map(issue).collect();
        let secrets_status = values(&secrets, &spoilt, &mut issues);
        let owned = images.iter().map(Owned::from).chain(live.iter().map(Owned::from));
        let owned = owned.chain(secrets.iter().map(Owned::from)).collect();
        let authorizer_status = self.ownership(owned, &mut issues).await?;
        issues.truncate(NAMED);
        Ok(HealthReport {
            timestamp: self.inner.clock.now(),
            compute_status: compute(&report),
            secrets_status,
            identity_status: self.identity(&images).await?,
            authorizer_status,
            issues,
            reconciled_count: report.mended(),
            error_count: report.failed,
        })
    }

    async fn live(&self) -> Result<Vec<Execution>, Error> {
        let statuses = Some(Status::LIVE.to_vec());
        let mut query = ListQuery { statuses, limit: limits::PAGE, ..ListQuery::default() };
        let mut live = Vec::new();
        loop {
            let store = Error::store("the execution store");
            let page = self.inner.executions.list(&query).await.map_err(store)?;
            live.extend(page.executions);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(live),
            }
        }
    }

    /// The secrets whose value does not open. None leaves the store.
    async fn spoilt_secrets(&self) -> Result<BTreeSet<SecretName>, Error> {
        let Some(store) = &self.inner.secrets else { return Ok(BTreeSet::new()) };
        let spoilt = store.verify().await.map_err(Error::store("the secret store"))?;
        Ok(spoilt.into_iter().collect())
    }

    async fn identity(&self, images: &[Image]) -> Result<IdentityStatus, Error> {
        let mut missing_roles = Vec::new();
        let user = Email::system();
        for role in Role::ALL {
            let principal = Principal { user: &user, role };
            let (action, resource) = (Action::ListExecutions, Resource::System);
            let request = AuthzRequest { principal, action, resource, run: None };
            if let Decision::Deny { .. } = self.decide_for(request).await? {
                missing_roles.push(role.to_string());
            }
        }
        let named = images.iter().map(|image| &image.settings);
        let named: BTreeSet<_> =
            named.flat_map(|it| [&it.task_role_name, &it.task_execution_role_name]).flatten().collect();
        Ok(IdentityStatus {
            default_roles_verified: missing_roles.is_empty(),
            // Whether a cloud's role is there, nobody here can say.
            custom_roles_verified: 0,
            custom_roles_total: named.len() as u64,
            missing_roles,
        })
    }

    async fn ownership(
        &self,
        owned: Vec<Owned<'_>>,
        issues: &mut Vec<HealthIssue>,
    ) -> Result<AuthorizerStatus, Error> {
        let users = self.inner.keys.list().await.map_err(Error::store("the key store"))?;
        let known: HashSet<&Email> = users.iter().map(|user| &user.email).collect();
        let mut status = AuthorizerStatus {
            total_users_checked: users.len() as u64,
            total_resources_checked: owned.len() as u64,
            ..AuthorizerStatus::default()
        };
        for Owned { kind, id, owners, creator } in owned {
            let resource = format!("{kind}:{id}");
            if owners.is_empty() {
                note(&mut status.resources_with_missing_owners, resource.clone());
                issues.push(reported(kind, &id, "nobody owns it"));
            }
            for owner in owners.iter().filter(|owner| !known.contains(owner)) {
                note(&mut status.orphaned_ownerships, format!("{resource} {owner}"));
                issues.push(reported(kind, &id, &format!("its owner {owner} is not known")));
            }
            if !owners.contains(creator) {
                note(&mut status.missing_ownerships, format!("{resource} {creator}"));
            }
        }
        Ok(status)
    }
}

/// What is told of the values of those secrets that somebody may read.
fn values(secrets: &[Secret], spoilt: &BTreeSet<SecretName>, issues: &mut Vec<HealthIssue>) -> SecretsStatus {
    let total = secrets.len() as u64;
    let mut status = SecretsStatus { total_secrets: total, ..SecretsStatus::default() };
    for name in secrets.iter().map(|secret| &secret.name).filter(|name| spoilt.contains(name)) {
        status.missing_count += 1;
        let message = "its value cannot be read: give it one again with `runvoy secrets update`";
        let severity = "error".to_owned();
        issues.push(HealthIssue { severity, ..reported("secret", name.as_str(), message) });
    }
    status.verified_count = total - status.missing_count;
    status
}

/// Something that somebody owns.
struct Owned<'a> {
    kind: &'static str,
    id: String,
    owners: &'a [Email],
    creator: &'a Email,
}

impl<'a> From<&'a Image> for Owned<'a> {
    fn from(image: &'a Image) -> Self {
        Self { kind: "image", id: image.id.to_string(), owners: &image.owned_by, creator: &image.created_by }
    }
}

impl<'a> From<&'a Execution> for Owned<'a> {
    fn from(record: &'a Execution) -> Self {
        let (owners, creator) = (&record.owned_by, &record.created_by);
        Self { kind: "execution", id: record.id.to_string(), owners, creator }
    }
}

impl<'a> From<&'a Secret> for Owned<'a> {
    fn from(secret: &'a Secret) -> Self {
        let (owners, creator) = (&secret.owned_by, &secret.created_by);
        Self { kind: "secret", id: secret.name.to_string(), owners, creator }
    }
}

fn note(list: &mut Vec<String>, name: String) {
    if list.len() < NAMED {
        list.push(name);
    }
}

fn reported(kind: &str, id: &str, message: &str) -> HealthIssue {
    HealthIssue {
        resource_type: kind.to_owned(),
        resource_id: id.to_owned(),
        severity: "warning".to_owned(),
        message: message.to_owned(),
        action: "reported".to_owned(),
    }
}

fn issue(found: &Found) -> HealthIssue {
    let (severity, action) = found.what.words();
    HealthIssue {
        resource_type: found.kind.to_owned(),
        resource_id: found.id.clone(),
        severity: severity.to_owned(),
        message: found.message.clone(),
        action: action.to_owned(),
    }
}

fn compute(report: &ReconcileReport) -> ComputeStatus {
    let ReconcileReport { checked, settled, started, stopped, given_up, .. } = *report;
    let amiss = settled + started + stopped + given_up + report.unmended;
    let orphaned = report.found.iter().filter(|found| found.is_given_up());
    ComputeStatus {
        total_resources: checked,
        verified_count: checked.saturating_sub(amiss),
        recreated_count: started,
        tag_updated_count: settled,
        orphaned_count: given_up,
        orphaned_resources: orphaned.map(|found| found.id.clone()).collect(),
    }
}
