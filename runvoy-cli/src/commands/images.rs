//! `runvoy images`: what there is to run commands in.

use std::fmt::Write as _;

use runvoy_core::api::{
    ChangeImageRequest, ImageData, ImageDone, ImagesAnswer, MannerRequest, RegisterImageRequest,
};
use runvoy_core::images::ImageReference;

use super::Context;
use crate::args::{
    ImagesCommand, ImagesListArgs, ImagesRegisterArgs, ImagesShowArgs, ImagesUnregisterArgs,
    ImagesUpdateArgs, MannerArgs, OutputArgs,
};
use crate::client::Document;
use crate::error::{CliError, Kind};
use crate::{exit, table, time};

/// The command.
pub(crate) async fn images(context: &Context, command: &ImagesCommand) -> Result<u8, CliError> {
    match command {
        ImagesCommand::Register(args) => register(context, args).await,
        ImagesCommand::List(args) => list(context, *args).await,
        ImagesCommand::Show(args) => show(context, args).await,
        ImagesCommand::Update(args) => update(context, args).await,
        ImagesCommand::Unregister(args) => unregister(context, args).await,
    }
}

async fn register(context: &Context, args: &ImagesRegisterArgs) -> Result<u8, CliError> {
    let request = RegisterImageRequest {
        image: args.image.clone(),
        is_default: args.set_default.then_some(true),
        cpu: args.cpu,
        memory: args.memory,
        runtime_platform: args.platform.clone(),
        task_role_name: args.task_role.clone(),
        task_execution_role_name: args.task_execution_role.clone(),
        manner: manner(&args.manner),
    };
    let answer = context.client()?.post::<ImageDone>("/images/register", &request).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        context.printer.note(&format!("{} is registered as", answer.value.image));
        context.printer.data(format!("{}\n", answer.value.image_id).as_bytes())?;
    }
    Ok(exit::OK)
}

fn manner(args: &MannerArgs) -> MannerRequest {
    MannerRequest {
        user: args.user.clone(),
        stop_signal: args.stop_signal.clone(),
        networks: (!args.network.is_empty()).then(|| args.network.clone()),
        read_only: args.read_only,
    }
}

async fn list(context: &Context, args: ImagesListArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<ImagesAnswer>("/images").await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else if answer.value.images.is_empty() {
        context.printer.note("no image is registered; `runvoy images register IMAGE` adds one");
    } else {
        let rows: Vec<_> = answer.value.images.iter().map(row).collect();
        let head = ["ID", "DEFAULT", "CPU", "MEMORY", "PLATFORM", "REGISTERED BY"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

fn row(image: &ImageData) -> [String; 6] {
    [
        image.image_id.to_string(),
        if image.is_default { "yes" } else { "-" }.to_owned(),
        limit(image.cpu, ""),
        limit(image.memory, " MiB"),
        image.runtime_platform.clone(),
        image.created_by.to_string(),
    ]
}

fn limit(value: u64, unit: &str) -> String {
    if value == 0 { "no limit".to_owned() } else { format!("{value}{unit}") }
}

async fn show(context: &Context, args: &ImagesShowArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<ImageData>(&path(&args.image)).await?;
    print(context, args.output, &answer)
}

fn print(context: &Context, output: OutputArgs, image: &Document<ImageData>) -> Result<u8, CliError> {
    if output.json() {
        context.printer.data(&image.json())?;
    } else {
        context.printer.data(fields(&image.value).as_bytes())?;
    }
    Ok(exit::OK)
}

fn fields(image: &ImageData) -> String {
    let owners: Vec<_> = image.owned_by.iter().map(ToString::to_string).collect();
    table::fields(&[
        ("id", Some(image.image_id.to_string())),
        ("image", Some(image.image.clone())),
        ("default", Some(if image.is_default { "yes" } else { "no" }.to_owned())),
        ("cpu", Some(limit(image.cpu, ""))),
        ("memory", Some(limit(image.memory, " MiB"))),
        ("platform", Some(image.runtime_platform.clone())),
        ("user", image.user.clone()),
        ("stop signal", image.stop_signal.clone()),
        ("networks", (!image.networks.is_empty()).then(|| image.networks.join(", "))),
        ("root file system", image.read_only.then(|| "read-only".to_owned())),
        ("task role", image.task_role_name.clone()),
        ("task execution role", image.task_execution_role_name.clone()),
        ("registered by", Some(image.created_by.to_string())),
        ("owners", Some(owners.join(", "))),
        ("registered at", Some(time::shown(image.created_at))),
    ])
}

async fn update(context: &Context, args: &ImagesUpdateArgs) -> Result<u8, CliError> {
    let request = ChangeImageRequest { is_default: args.set_default, manner: manner(&args.manner) };
    let answer = context.client()?.put::<ImageData>(&path(&args.id), &request).await?;
    print(context, args.output, &answer)
}

async fn unregister(context: &Context, args: &ImagesUnregisterArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let images = match client.get::<ImagesAnswer>("/images").await {
        Ok(answer) => answer.value.images,
        // Who may not see them may still remove one, by its id.
        Err(error) if error.kind == Kind::Denied => Vec::new(),
        Err(error) => return Err(error),
    };
    let meant = meant(&images, &args.image)?;
    let id = meant.map_or(args.image.as_str(), |image| image.image_id.as_str());
    let answer = client.delete::<ImageDone>(&path(id)).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        context.printer.note(&format!("{} is not registered any more", answer.value.image));
    }
    if meant.is_some_and(|image| image.is_default) {
        context.printer.warn(
            "there is no default image now; `runvoy images update ID --set-default` makes another one the default",
        );
    }
    Ok(exit::OK)
}

/// The one image that a text means: an id, what it was registered as, or the same name and tag in whatever registry.
/// Nothing that is removed is guessed: several are refused.
fn meant<'a>(images: &'a [ImageData], text: &str) -> Result<Option<&'a ImageData>, CliError> {
    let those = |is_meant: &dyn Fn(&ImageData) -> bool| -> Vec<_> {
        images.iter().filter(|image| is_meant(image)).collect()
    };
    let wanted = text.parse::<ImageReference>();
    let is_same = |image: &ImageData| {
        let known = image.image.parse::<ImageReference>();
        wanted.as_ref().is_ok_and(|wanted| known.is_ok_and(|known| known.is_same(wanted)))
    };
    let mut found = those(&|image| image.image_id.as_str() == text);
    if found.is_empty() {
        found = those(&|image| image.image == text);
    }
    if found.is_empty() {
        found = those(&is_same);
    }
    match found.as_slice() {
        [] => Ok(None),
        [image] => Ok(Some(image)),
        several => {
            let ids: Vec<_> = several.iter().map(|image| format!("`{}`", image.image_id)).collect();
            let what = format!("{} images are called `{text}`", several.len());
            Err(CliError::new(Kind::Usage, what).hint(format!("name one by its id: {}", ids.join(", "))))
        }
    }
}

/// Where an image is: as one segment of a path.
pub(super) fn path(image: &str) -> String {
    let mut path = "/images/".to_owned();
    for byte in image.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' | b'@' => {
                path.push(char::from(byte));
            }
            other => {
                // Writing to a string does not fail.
                let _ = write!(path, "%{other:02X}");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_one_segment_of_a_path() {
        assert_eq!(path("org/a:1-0a1b2c3d"), "/images/org%2Fa:1-0a1b2c3d");
        assert_eq!(path("a b?ü"), "/images/a%20b%3F%C3%BC");
    }
}
