use jiff::Timestamp;

use crate::id::{Email, RequestId};
use crate::port::AuditEvent;

/// Which records are wanted: those that all conditions fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this user's.
    pub user: Option<Email>,
    /// Only of this action.
    pub action: Option<String>,
    /// Only of this request.
    pub request: Option<RequestId>,
    /// Only from then on.
    pub since: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether a record's text fits. It is left out only if it says something else in the place where a condition looks:
    /// what cannot be read there was damaged, and must not hide.
    ///
    /// Costs a small part of reading the event: a whole log is looked through with it.
    pub fn fits(&self, text: &str) -> bool {
        if *self == Self::default() {
            return true;
        }
        match Said::of(text) {
            Some(said) => self.fits_said(&said),
            None => serde_json::from_str(text).map_or(true, |event: AuditEvent| self.fits_event(&event)),
        }
    }

    fn fits_said(&self, said: &Said<'_>) -> bool {
        self.user.as_ref().is_none_or(|user| user.as_str() == said.user)
            && self.action.as_ref().is_none_or(|action| action == said.action)
            && self
                .request
                .is_none_or(|wanted| said.request.parse().map_or(true, |request| wanted == request))
            && self.since.is_none_or(|since| said.at.parse().map_or(true, |at| since <= at))
    }

    fn fits_event(&self, event: &AuditEvent) -> bool {
        self.user.as_ref().is_none_or(|user| *user == event.user)
            && self.action.as_ref().is_none_or(|action| *action == event.action)
            && self.request.is_none_or(|request| request == event.request_id)
            && self.since.is_none_or(|since| since <= event.at)
    }
}

/// What a text says in the form that [`body`](super::body) gives it.
struct Said<'a> {
    at: &'a str,
    request: &'a str,
    user: &'a str,
    action: &'a str,
}

impl<'a> Said<'a> {
    /// `None` of any other form, and where a value is written with an escape.
    fn of(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("{\"seq\":")?.trim_start_matches(|c: char| c.is_ascii_digit());
        let (at, rest) = value(rest.strip_prefix(",\"at\":\"")?)?;
        let (request, rest) = value(rest.strip_prefix(",\"request_id\":\"")?)?;
        let (user, rest) = value(rest.strip_prefix(",\"user\":\"")?)?;
        // Within a value there is no quotation mark without a backslash: this is the field.
        let (_, rest) = rest.strip_prefix(",\"address\":")?.split_once(",\"action\":\"")?;
        let (action, _) = value(rest)?;
        Some(Self { at, request, user, action })
    }
}

/// A value that has no escapes, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let (value, rest) = text.split_once('"')?;
    (!value.contains('\\')).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AuditRecord, Head, body};
    use super::*;
    use crate::port::AuditKind;

    fn event(request: u128, user: &str, action: &str, at: i64) -> AuditEvent {
        AuditEvent {
            at: Timestamp::from_millisecond(at).unwrap(),
            request_id: RequestId::from_u128(request),
            user: user.parse().unwrap(),
            address: None,
            kind: AuditKind::Denied,
            action: action.to_owned(),
            resource: "system".to_owned(),
            policy: None,
            detail: Some("\",\"action\":\"kill\",\"resource\":\"".to_owned()),
        }
    }

    fn text(event: &AuditEvent) -> String {
        AuditRecord::after(&Head::default(), &body(event).unwrap()).text
    }

    #[test]
    fn the_form_of_every_record_is_read_without_parsing_it() {
        assert!(Said::of(&text(&event(7, "a@b.test", "run", 1))).is_some());
        let odd = event(7, "\"a b\"@b.test", "run", 1);
        assert!(Said::of(&text(&odd)).is_none());
        let theirs = AuditFilter { user: Some(odd.user.clone()), ..AuditFilter::default() };
        assert!(theirs.fits(&text(&odd)) && !theirs.fits(&text(&event(7, "a@b.test", "run", 1))));
    }

    #[test]
    fn what_cannot_be_read_where_a_filter_looks_does_not_hide() {
        let whole = text(&event(7, "a@b.test", "run", 1_000));
        let other = AuditFilter {
            user: Some("c@d.test".parse().unwrap()),
            action: Some("kill".to_owned()),
            request: Some(RequestId::from_u128(8)),
            since: Some(Timestamp::from_millisecond(2_000).unwrap()),
        };
        assert!(!other.fits(&whole));
        for damaged in ["", "{", "{}", "no JSON", &whole[1..], &whole[..40]] {
            assert!(other.fits(damaged), "{damaged}");
        }
        let later = AuditFilter { since: other.since, ..AuditFilter::default() };
        assert!(later.fits(&whole.replace("1970-", "197x-")) && !later.fits(&whole));
        let of_request = AuditFilter { request: other.request, ..AuditFilter::default() };
        assert!(of_request.fits(&whole.replace("\"request_id\":\"0", "\"request_id\":\"?")));
    }

    proptest! {
        #[test]
        fn text_and_event_fit_alike(
            request in 0_u128..3,
            user in prop::sample::select(vec!["a@b.test", "c@d.test", "\"a b\"@b.test"]),
            action in prop::sample::select(vec!["run", "kill", "\"", "\\", "ü\n"]),
            at in 0_i64..4000,
            wanted in (prop::option::of(0_u128..3), any::<bool>(), any::<bool>(), prop::option::of(0_i64..4000)),
        ) {
            let event = event(request, user, action, at);
            let filter = AuditFilter {
                user: wanted.1.then(|| "a@b.test".parse().unwrap()),
                action: wanted.2.then(|| "kill".to_owned()),
                request: wanted.0.map(RequestId::from_u128),
                since: wanted.3.map(|at| Timestamp::from_millisecond(at).unwrap()),
            };
            prop_assert_eq!(filter.fits(&text(&event)), filter.fits_event(&event));
        }
    }
}
