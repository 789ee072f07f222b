//! Stream tokens: reading one log without a key of one's own.

use super::{Caller, Error, RequestContext, Runvoy, Unauthenticated};
use crate::id::ExecutionId;
use crate::limits;
use crate::port::{Action, AuditKind, Resource};
use crate::stream_token::{StreamTicket, StreamToken};

impl Runvoy {
    /// A token that opens this execution's log for [`limits::STREAM_TOKEN`], and nothing that the caller's key does not.
    pub fn stream_token(&self, caller: &Caller, execution: ExecutionId) -> StreamToken {
        let until = self.inner.clock.now() + limits::STREAM_TOKEN;
        self.inner.stream_key.seal(&StreamTicket { execution, key: caller.standing.key, until })
    }

    /// Finds out who a stream token stands for, and which execution it opens: the one that is `asked` for, or it is
    /// denied, and that recorded.
    ///
    /// Whether they may read its log is decided, as for everybody else, where it is read.
    pub async fn authenticate_stream(
        &self,
        token: Option<&str>,
        asked: &str,
        context: RequestContext,
    ) -> Result<(Caller, ExecutionId), Error> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(Error::Unauthenticated(Unauthenticated::NoToken));
        };
        let ticket = self.inner.stream_key.open(token);
        self.inner.rates.may_try(ticket.as_ref().map(|ticket| &ticket.key), context.address)?;
        if ticket.is_none() {
            self.inner.rates.failed(context.address);
        }
        let now = self.inner.clock.now();
        let ticket = ticket.filter(|ticket| ticket.until > now);
        let ticket = ticket.ok_or(Error::Unauthenticated(Unauthenticated::BadToken))?;
        let caller = self.caller(ticket.key, context).await?;
        if asked == ticket.execution.to_string() {
            return Ok((caller, ticket.execution));
        }
        Err(self.another_stream(&caller, asked).await?)
    }

    /// Records that somebody came with the token of another execution; what to tell them.
    async fn another_stream(&self, caller: &Caller, asked: &str) -> Result<Error, Error> {
        let shown: String = asked.chars().take(ID_CHARS).collect();
        let resource = format!("execution:{shown}");
        let mut event = self.event(caller, AuditKind::Denied, (Action::ReadLogs, Resource::System), None);
        event.resource.clone_from(&resource);
        event.detail = Some("the stream token is another execution's".to_owned());
        self.append(event).await?;
        Ok(Error::Denied { action: Action::ReadLogs, resource, policy: None, by_content: false })
    }
}

/// Characters of an id.
const ID_CHARS: usize = 32;
