//! The command `umedsam-cuda`: prepares what training on a rented GPU machine needs.

#![forbid(unsafe_code)]

mod pack;

use clap::{Parser, Subcommand};

/// Prepare training on a rented GPU machine.
#[derive(Debug, Parser)]
#[command(name = "umedsam-cuda", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pack what training reads of a folder of cases into few files of given sizes.
    Pack(pack::PackArguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Pack(arguments) => pack::pack(&arguments),
    }
}
