//! `umedsam-cuda pack`: the cases of a folder as packs of given sizes, all rows of the tables in balance.

mod order;
mod report;
mod worker;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, bail};
use clap::Args;
use order::{Case, Items, choose, order};
use report::Report;
use umedsam::metrics::on_all_cores;
use umedsam::{errln, outln};
use umedsam_train::config::DataConfig;
use umedsam_train::data::pack::{Encoded, PackSlice, Shard};
use umedsam_train::data::{Dataset, Entry};
use worker::Workers;

/// Most memory for slices until they are packed, in GiB; others are read again.
const MEMORY_GIB: f64 = 8.0;

/// Slices that are encoded before the next size is looked at.
const AT_ONCE: usize = 64;

/// What is packed, and how much of it.
#[derive(Args, Debug)]
pub(crate) struct PackArguments {
    /// Folder of NPZ cases with `imgs` and `gts`.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Folder that gets 1.pack, 2.pack and so on; it must not have packs yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Most bytes of each pack. The first has every row of the tables; each is of use without those after it.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', required = true)]
    sizes: Vec<usize>,
    /// Most slices of a volume that are packed, evenly spaced; more where it takes more to show every label.
    #[arg(long, value_name = "N", default_value_t = 16)]
    slices: usize,
    /// Labels of more pixels of the 256x256 grid than these can be drawn: `data.min-area` of training.
    #[arg(long, value_name = "N", default_value_t = DataConfig::default().min_area)]
    min_area: usize,
    /// Python with numpy and imagecodecs, which encodes the pictures.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: OsString,
}

/// Prints what goes into the packs, and writes them.
///
/// # Errors
/// If the cases cannot be read, a picture does not come back to the bit, a file cannot be written, or the first pack
/// lacks a row.
pub(crate) fn pack(arguments: &PackArguments) -> anyhow::Result<()> {
    let PackArguments { data, out, sizes, slices, min_area, python } = arguments;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    for file in fs::read_dir(out).with_context(|| out.display().to_string())? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "pack") {
            bail!("{} is there already, and would be read with the new packs", path.display());
        }
    }
    let config = DataConfig { min_area: *min_area, memory_gib: MEMORY_GIB, ..DataConfig::default() };
    let dataset = Dataset::read(data, &config, |_, _| ())?;
    for skipped in dataset.skipped() {
        errln!("passed over: {}: {}", skipped.path.display(), skipped.problem);
    }
    let case = |entry: &Entry| Case {
        name: entry.name().into_owned(),
        row: entry.group(),
        slices: choose(&entry.slices, *slices),
    };
    let cases: Vec<Case> = dataset.entries().iter().map(case).collect();
    let workers = Workers::start(python, thread::available_parallelism().map_or(1, usize::from))?;
    let shards = fill(&dataset, &order(&cases), &workers, sizes, *min_area)?;
    let report = Report::new(&cases, &shards);
    outln!("{}", report.to_string().trim_end());
    let missing = report.missing();
    if !missing.is_empty() {
        bail!("nothing is written: the first pack is too small for {}", missing.join(", "));
    }
    for (shard, number) in shards.iter().zip(1..).filter(|(shard, _)| !shard.slices().is_empty()) {
        let path = out.join(format!("{number}.pack"));
        shard.write(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Shards of at most these sizes, filled in order; those that nothing is left for are not made.
fn fill(
    dataset: &Dataset,
    items: &Items,
    workers: &Workers,
    sizes: &[usize],
    min_area: usize,
) -> anyhow::Result<Vec<Shard>> {
    let mut sizes = sizes.iter();
    let mut size = sizes.next();
    let mut shards = vec![Shard::new(min_area)];
    for chunk in items.chunks(AT_ONCE) {
        let encoded = on_all_cores(chunk, |&(entry, z)| -> anyhow::Result<Encoded> {
            let slice = PackSlice::new(dataset, entry, z)?;
            let jxl = workers.encode(&slice.picture())?;
            slice.encoded(jxl, min_area).with_context(|| format!("{} slice {z}", slice.case))
        });
        for slice in encoded {
            let slice = slice?;
            let full = |shards: &[Shard], size: usize| shards.last().is_some_and(|s| s.bytes_with(&slice) > size);
            while size.is_some_and(|&size| full(&shards, size)) {
                size = sizes.next();
                shards.push(Shard::new(min_area));
            }
            if size.is_none() {
                shards.pop();
                return Ok(shards);
            }
            if let Some(shard) = shards.last_mut() {
                shard.push(slice);
            }
        }
    }
    Ok(shards)
}
