//! The Python in which the other runtimes live.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Folder of the worker scripts and their requirements.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// `~/.cache/umedsam`, or its place under `XDG_CACHE_HOME`: where the environment and quantized models are kept.
pub fn cache() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    Ok(given.or_else(home).context("no home folder to keep a cache in")?.join("umedsam"))
}

/// The interpreter to use: `given`, or that of the environment in the cache, which `setup` makes or completes with the
/// requirements in the file of this name. Nothing, and how to change that on standard error, where there is neither.
pub fn find(given: Option<&Path>, setup: bool, requirements: &str) -> anyhow::Result<Option<PathBuf>> {
    if let Some(python) = given {
        return Ok(Some(python.into()));
    }
    let environment = cache()?.join("peers");
    let python = environment.join("bin/python");
    let requirements = scripts().join(requirements);
    let wanted = fs::read_to_string(&requirements).with_context(|| requirements.display().to_string())?;
    // Written last, so that an interrupted installation is none; the text, so that one of older versions is none.
    let done = environment.join("installed").with_extension(requirements.file_name().unwrap_or_default());
    if setup {
        eprintln!("installing {} into {}", requirements.display(), environment.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "-q", "-r"])
            .arg(&requirements))?;
        fs::write(&done, wanted).with_context(|| done.display().to_string())?;
    } else if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(python));
    } else {
        eprintln!(
            "no Python environment with {}: give --setup once to make one in {}, or --python PYTHON to use yours. \
             Going on without what needs it.",
            requirements.display(),
            environment.display()
        );
        return Ok(None);
    }
    Ok(Some(python))
}

/// Runs a command whose output is for people: all of it goes to standard error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(std::io::stderr()).status().with_context(|| name.clone())?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
