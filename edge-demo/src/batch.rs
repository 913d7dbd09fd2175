//! Many inputs on many machines: shares of them, and what is done already.

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use umedsam_demo::read::files_of;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BatchArguments {
    /// Do a share of the inputs: 2/8 is the second of eight. Each input is in one of them, so that eight runs with 1/8 to 8/8,
    /// on one machine or on several, do all of them once.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Pass over inputs whose results are there, are whole, and are not older than the input. With what options they were
    /// made is not looked at.
    #[arg(long)]
    pub(crate) resume: bool,
}

/// One share of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        match numbers {
            Some((index, of)) if 0 < index && index <= of => Ok(Self { index, of }),
            _ => Err(format!("'{text}': I/N expected, with I from 1 to N")),
        }
    }
}

impl BatchArguments {
    /// Whether all inputs are looked at.
    pub(crate) const fn is_whole(&self) -> bool {
        self.shard.is_none() && !self.resume
    }

    /// The share of a list.
    pub(crate) fn share<T>(&self, all: Vec<T>) -> Vec<T> {
        let Some(Shard { index, of }) = self.shard else { return all };
        all.into_iter().skip(index - 1).step_by(of).collect()
    }

    /// Whether the results of an input are there and need not be made again: files that `is_whole` recognises, and that are
    /// not older than any of what they were made of. Results are renamed into place, so that what is there is all of it.
    pub(crate) fn is_done<'a>(
        &self,
        made_of: &[&Path],
        results: impl IntoIterator<Item = &'a Path>,
        is_whole: impl Fn(&Path) -> bool,
    ) -> bool {
        let time = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
        if !self.resume {
            return false;
        }
        let results: Vec<&Path> = results.into_iter().collect();
        // A folder is as old as its files, its results among them left out.
        let made_of = made_of.iter().flat_map(|path| files_of(path)).filter(|path| !results.contains(&path.as_path()));
        let newest = made_of.map(|path| time(&path)).max().flatten();
        let is_newer = |path: &Path| time(path).is_some_and(|own| newest.is_some_and(|then| own >= then));
        !results.is_empty() && results.iter().all(|path| is_whole(path) && is_newer(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_in_one_share() {
        let share = |text: &str| {
            let shard = Some(text.parse().unwrap());
            BatchArguments { shard, resume: false }.share((0..7).collect::<Vec<_>>())
        };
        let mut all: Vec<i32> = ["1/3", "2/3", "3/3"].iter().flat_map(|text| share(text)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert_eq!((share("1/1").len(), share("8/9").len()), (7, 0));
        for wrong in ["0/3", "4/3", "1", "1/0", "a/3", "/", "-1/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
