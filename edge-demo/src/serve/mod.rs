//! `umedsam serve`: a page, an API of its own, and the protocols that 3D Slicer and napari speak.

mod api;
mod app;
mod form;
mod guard;
mod held;
mod image;
mod limits;
mod listen;
mod monailabel;
mod nninteractive;
mod page;
mod patience;
mod pool;
mod refusal;
mod sessions;
mod volume;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::{Router, middleware};
use clap::Args;
use tokio::net::TcpListener;
use umedsam::{errln, outln};

use crate::ModelArguments;
use app::App;
use guard::{Guard, guard};

/// How long what is being answered may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// Files that the page offers: pictures, NPZ cases, NIfTI, DICOM files, or folders or ZIP archives of a series.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Port; 0 for any that is free.
    #[arg(long, default_value_t = 1527)]
    port: u16,
    /// Open the page in this machine's browser.
    #[arg(long)]
    open: bool,
    /// What a client must show as `Authorization: Bearer T`; needed where others than this machine can ask.
    #[arg(long, value_name = "T")]
    token: Option<String>,
    /// The address to listen on; 0.0.0.0 for all of this machine's. With --token.
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Threads that run the network beside each other, at least 2; --threads are those of each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=64))]
    workers: Option<u16>,
    /// Memory for all images that are held, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(64..))]
    memory: u32,
    /// Sessions at the same time, of pages and of extensions each.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    sessions: u16,
    /// Seconds after which an idle session of an extension ends.
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
    #[command(flatten)]
    model: ModelArguments,
}

/// Serves until Ctrl-C.
pub(crate) fn run(arguments: &ServeArguments) -> anyhow::Result<()> {
    let loopback = arguments.listen.is_loopback();
    match &arguments.token {
        None if !loopback => bail!("--listen {}: others can ask there; --token T is needed", arguments.listen),
        // It becomes a part of the page's address.
        Some(token) if token.len() < 8 || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) => {
            bail!("--token: at least 8 letters, digits or any of -._~ are needed")
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let address = SocketAddr::new(arguments.listen, arguments.port);
    let listener = runtime.block_on(TcpListener::bind(address)).with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(arguments)?);
    let guarded = Guard { loopback, token: arguments.token.clone() };
    let router = router(&app, guarded);
    let page = format!("http://{address}/");
    outln!("{page}  the page; Ctrl-C ends");
    outln!("3D Slicer (extensions nnInteractive and MONAI Label) and napari-nninteractive: server http://{address}");
    if arguments.open {
        open(&match &arguments.token {
            Some(token) => format!("{page}#{token}"),
            None => page,
        });
    }
    let done = runtime.block_on(async {
        tokio::spawn(sessions::expire(Arc::downgrade(&app)));
        listen::serve(listener, router, &app.limits, stopped(), GRACE).await
    });
    let pool::Load { waiting, running } = app.pool.close();
    if !done || running + waiting > 0 {
        errln!("umedsam: dropped: {running} requests that were running and {waiting} that waited");
    }
    // Closing the connections cancels what runs: threads end at the next slice.
    runtime.shutdown_timeout(Duration::from_secs(1));
    app.remove_folder();
    Ok(())
}

/// All routes.
fn router(app: &Arc<App>, guarded: Guard) -> Router {
    let router = page::router().merge(api::router()).merge(nninteractive::router()).merge(monailabel::router());
    router
        .fallback(|| async { refusal::Refusal::missing("what is asked for") })
        .layer(middleware::from_fn_with_state(Arc::new(guarded), guard))
        .with_state(app.clone())
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        } else {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    errln!("umedsam: ends; what is being answered has {} seconds", GRACE.as_secs());
}

/// Asks the system's browser to show a page.
fn open(page: &str) {
    let (program, first): (&str, &[&str]) = match () {
        () if cfg!(windows) => ("cmd", &["/C", "start", ""]),
        () if cfg!(target_os = "macos") => ("open", &[]),
        () => ("xdg-open", &[]),
    };
    let started = Command::new(program).args(first).arg(page).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Err(error) = started {
        errln!("umedsam: --open: {program}: {error}");
    }
}
