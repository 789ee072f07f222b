use clap::{Args, Subcommand};

use super::OutputArgs;

/// Register the images that commands run in; show, change and remove them
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Register an image; nothing is fetched or checked
    Register(ImagesRegisterArgs),
    /// List every image
    List(ImagesListArgs),
    /// Show one image
    Show(ImagesShowArgs),
    /// Change how commands run in an image; what is not named stays
    Update(ImagesUpdateArgs),
    /// Remove an image from the registry; what runs in it goes on
    Unregister(ImagesUnregisterArgs),
}

/// Register an image; nothing is fetched or checked
///
/// The first image becomes the default one. The same image with another cpu, memory, platform or role is another one,
/// with an id of its own.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImagesRegisterArgs {
    /// Image, as its registry has it
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Give it to commands that name no image
    #[arg(long)]
    pub(crate) set_default: bool,
    /// CPU units of a command that names none, 1024 a core; 0 for no limit [default: 256]
    #[arg(long, value_name = "UNITS")]
    pub(crate) cpu: Option<u64>,
    /// Memory in MiB of a command that names none; 0 for no limit [default: 512]
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// What it is built for, as `linux/arm64` [default: what the server runs on]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Cloud role of the commands
    #[arg(long, value_name = "NAME")]
    pub(crate) task_role: Option<String>,
    /// Cloud role that the tasks are started with
    #[arg(long, value_name = "NAME")]
    pub(crate) task_execution_role: Option<String>,
    #[command(flatten)]
    pub(crate) manner: MannerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How commands run in an image.
#[derive(Args, Clone, Debug)]
pub(crate) struct MannerArgs {
    /// Who commands run as, `NAME|UID[:GROUP|GID]`; empty for the image's own user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Signal that asks commands to stop; empty for the image's own
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Network that commands may be in; the first is theirs unless they name another
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Vec<String>,
    /// Whether the root file system is read-only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) read_only: Option<bool>,
}

/// List every image
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ImagesListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show one image
#[derive(Args, Clone, Debug)]
pub(crate) struct ImagesShowArgs {
    /// Image: its id, what it was registered as, or its name and tag
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Change how commands run in an image; what is not named stays
#[derive(Args, Clone, Debug)]
pub(crate) struct ImagesUpdateArgs {
    /// Id of the image, as `runvoy images list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Whether commands that name no image get it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) set_default: Option<bool>,
    #[command(flatten)]
    pub(crate) manner: MannerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Remove an image from the registry; what runs in it goes on
#[derive(Args, Clone, Debug)]
pub(crate) struct ImagesUnregisterArgs {
    /// Image: its id, or what it was registered as, or its name and tag, if no other is called so
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
