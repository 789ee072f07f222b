//! Supervising one stage of a task to its end: what prepares the workspace, then the command.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::WaitStatus;

use crate::command::Started;
use crate::control::{Cause, Control, Orders};
use crate::error::AgentError;
use crate::mask::Patterns;
use crate::output::Output;
use crate::signals::Signals;
use crate::sink::{Sink, Totals};

/// The log of a task, which goes from stage to stage.
pub(crate) struct Log {
    /// Where it is stored.
    pub(crate) sink: Sink,
    /// What is masked in it.
    pub(crate) patterns: Patterns,
    /// Runs replaced so far.
    pub(crate) replacements: u64,
    /// Why it cannot be written any more.
    pub(crate) broken: Option<io::Error>,
    /// A line of the agent's own that the next stage begins with.
    pub(crate) remark: Option<&'static str>,
}

impl Log {
    /// Makes it durable and sums it up; what is broken is summed up as far as it goes.
    pub(crate) fn finish(&self) -> Result<Totals, AgentError> {
        match self.sink.finish() {
            Err(_) if self.broken.is_some() => Ok(self.sink.totals()),
            totals => totals.map_err(AgentError::io("making the log durable")),
        }
    }
}

/// What a stage leaves.
pub(crate) struct Ended {
    /// How its process ended.
    pub(crate) status: Option<WaitStatus>,
    /// Why it was ended; `None` if by itself.
    pub(crate) cause: Option<Cause>,
    /// What its process had to say to the agent.
    pub(crate) report: Option<String>,
    /// For the next stage.
    pub(crate) log: Log,
    /// For the next stage.
    pub(crate) signals: Signals,
}

/// Stores what a started process says, and stops it when it is to stop, until nothing of it is left.
pub(crate) fn supervise(
    mut started: Started,
    outputs: [OwnedFd; 2],
    orders: Orders,
    mut log: Log,
    signals: Signals,
) -> Ended {
    let remark = log.remark.take();
    let mut control = Control::new(orders, signals);
    let mut output = Output::new(log, outputs);
    if let Some(remark) = remark {
        output.remark(remark, &mut control);
    }
    loop {
        control.advance();
        if control.is_gone() {
            break;
        }
        let ready = control.wait(output.fds(), output.due());
        output.pump(ready, &mut control);
    }
    output.drain(&mut control);
    let status = control.status();
    let (cause, signals) = control.into_parts();
    Ended { status, cause, report: started.report(), log: output.into_log(), signals }
}
