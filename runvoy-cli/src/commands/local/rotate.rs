//! `runvoy local rotate-master-key`: everything is sealed anew.

use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_local::sqlite::{OnAuditProblem, ResealError};
use runvoy_local::{DataDir, RotateError, Rotated, Rotation, rotate_master_key};

use super::not_started;
use super::place::{data_dir, unusable};
use super::preset::Preset;
use crate::args::RotateMasterKeyArgs;
use crate::commands::Context;
use crate::env_vars::{MASTER_KEY, NEW_MASTER_KEY};
use crate::error::CliError;
use crate::exit;

/// The command.
pub(super) fn rotate(context: &Context, args: &RotateMasterKeyArgs, preset: Preset) -> Result<u8, CliError> {
    let (old, new) = (preset.master, preset.new_master);
    let path = data_dir(args.data_dir.as_ref())?;
    let dir = DataDir::open_used(&path).map_err(unusable)?;
    let is_in_file = new.is_none();
    let on_audit_problem =
        if args.accept_audit_problem { OnAuditProblem::Note } else { OnAuditProblem::Refuse };
    let rotation = Rotation { old, new, at: SystemClock.now(), on_audit_problem };
    let rotated = rotate_master_key(&dir, rotation).map_err(not_rotated)?;
    let place = if is_in_file {
        format!("the new key is in {}", dir.master_key().display())
    } else {
        format!("set {MASTER_KEY} to the new key before you start the server")
    };
    match rotated {
        Rotated::Now(sealed) => {
            context.printer.note(&format!(
                "sealed anew: {} secret{}, {} request{} of live executions; {place}",
                sealed.secrets,
                plural(sealed.secrets),
                sealed.requests,
                plural(sealed.requests)
            ));
            if let Some(problem) = sealed.audit_problem {
                context.printer.note(&format!("noted in the audit log: {}", problem.message));
            }
        }
        Rotated::Before => context.printer.note(&format!("nothing was left to be sealed anew; {place}")),
    }
    Ok(exit::OK)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn not_rotated(error: RotateError) -> CliError {
    match error {
        RotateError::NoNewKey => not_started(error)
            .hint(format!("set {NEW_MASTER_KEY} to the new key; `openssl rand -hex 32` makes one")),
        RotateError::Reseal(ResealError::AuditLog(_)) => not_started(error).hint(
            "start the server and see `runvoy audit verify`; `--accept-audit-problem` rotates all the same, and has the log note it",
        ),
        other => not_started(other),
    }
}
