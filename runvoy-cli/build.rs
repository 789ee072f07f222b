//! Builds the agent, statically, for `src/agent.rs` to embed.
//!
//! It is a cargo run of its own, in a target directory of its own (`<target>/agent`): the outer one is locked
//! while this runs. What the outer build was told about flags, wrappers and profiles does not reach it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Crates whose sources make the agent, beside this one.
const CRATES: [&str; 2] = ["runvoy-agent", "runvoy-task"];

/// Variables that would bend the inner build, or deadlock it.
const CLEARED: [&str; 10] = [
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];
const CLEARED_PREFIXES: [&str; 5] =
    ["CARGO_BUILD_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PROFILE_", "CARGO_TARGET_"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_LOCAL").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=RUNVOY_AGENT_BIN");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    let embedded = PathBuf::from(variable("OUT_DIR")?).join("runvoy-agent");
    if let Some(prebuilt) = env::var_os("RUNVOY_AGENT_BIN").map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", prebuilt.display());
        copy(&prebuilt, &embedded)
    } else if env::var_os("DOCS_RS").is_some() || variable("CARGO_CFG_TARGET_OS")? != "linux" {
        // No network there, or nothing that could run it: `src/agent.rs` says so at run time.
        note_hash(&[]);
        Ok(fs::write(&embedded, [])?)
    } else {
        copy(&build_agent()?, &embedded)
    }
}

/// Runs the inner cargo; answers where the executable is.
fn build_agent() -> Result<PathBuf> {
    let root = workspace()?;
    let triple = variable("TARGET")?;
    let target_dir = agent_target_dir()?;
    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if CLEARED.contains(&text.as_ref()) || CLEARED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    for (key, value) in profile() {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    cargo
        .current_dir(&root)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .args(["build", "--locked", "--release", "--package", "runvoy-agent", "--bin", "runvoy-agent"])
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&target_dir);
    let output = cargo.output()?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the agent could not be built ({}):\n{log}", output.status).into());
    }
    Ok(target_dir.join(triple).join("release").join("runvoy-agent"))
}

/// Small and fast in releases; quick to build otherwise.
fn profile() -> [(&'static str, &'static str); 6] {
    let release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let (opt_level, lto, units) = if release { ("3", "fat", "1") } else { ("1", "off", "16") };
    [
        ("OPT_LEVEL", opt_level),
        ("LTO", lto),
        ("CODEGEN_UNITS", units),
        ("PANIC", "abort"),
        ("STRIP", "true"),
        ("DEBUG", "false"),
    ]
}

/// The workspace's root, once cargo knows which of its files the agent is made of.
fn workspace() -> Result<PathBuf> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.parent().unwrap_or(&here).to_owned();
    for name in CRATES {
        let path = root.join(name);
        if !path.join("Cargo.toml").is_file() {
            let why = "is missing: build inside the workspace, or name a built agent in RUNVOY_AGENT_BIN";
            return Err(format!("{} {why}", path.display()).into());
        }
        println!("cargo::rerun-if-changed={}", path.join("Cargo.toml").display());
        println!("cargo::rerun-if-changed={}", path.join("src").display());
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    Ok(root)
}

/// `<target>/agent`: one for all profiles, next to what the outer cargo has locked, not inside it.
fn agent_target_dir() -> Result<PathBuf> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Cargo marks the top of every target directory, wherever it was told to put it.
    let top = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    Ok(top.unwrap_or(&out).join("agent"))
}

/// Keeps a copy: another build may replace the file while this crate is compiled.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let read = fs::read(from);
    let bytes = read.map_err(|e| io::Error::new(e.kind(), format!("reading {}: {e}", from.display())))?;
    note_hash(&bytes);
    Ok(fs::write(to, bytes)?)
}

/// Known at build time, so that a start need not read the embedded copy to know whether it was unpacked before.
fn note_hash(bytes: &[u8]) {
    println!("cargo::rustc-env=RUNVOY_AGENT_HASH={}", blake3::hash(bytes).to_hex());
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|e| format!("{name}: {e}").into())
}
