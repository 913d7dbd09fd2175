//! Scoring on all cores, beside the work that makes what is scored.

use std::prelude::v1::*;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// Calls `work` with every job on all cores and returns the results in the order of the jobs.
///
/// The iterator runs on the calling thread and is advanced only when a core is free. A network may therefore make one
/// job after another while earlier ones are scored, and few jobs are in memory at a time.
///
/// # Panics
/// If `work` panics.
pub fn on_all_cores<J: Send, R: Send>(jobs: impl IntoIterator<Item = J>, work: impl Fn(J) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, R)> = thread::scope(|scope| {
        // Without room: a job is handed over, never kept.
        let (jobs_in, jobs_out) = mpsc::sync_channel::<(usize, J)>(0);
        // Owned by the workers alone: should all of them panic, handing over fails instead of waiting for ever.
        let jobs_out = Arc::new(Mutex::new(jobs_out));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (jobs_out, work) = (Arc::clone(&jobs_out), &work);
                scope.spawn(move || {
                    let mut found = Vec::new();
                    loop {
                        // The lock is held while waiting, not while working.
                        let job = jobs_out.lock().map(|jobs| jobs.recv());
                        let Ok(Ok((index, job))) = job else { return found };
                        found.push((index, work(job)));
                    }
                })
            })
            .collect();
        drop(jobs_out);
        for job in jobs.into_iter().enumerate() {
            if jobs_in.send(job).is_err() {
                break;
            }
        }
        drop(jobs_in);
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let work = |i: u64| {
            thread::sleep(std::time::Duration::from_micros(i * 7919 % 500));
            i * i
        };
        assert_eq!(on_all_cores(0..100, work), (0..100).map(|i| i * i).collect::<Vec<_>>());
        assert!(on_all_cores(0..0, work).is_empty());
    }

    #[test]
    #[should_panic(expected = "job 3")]
    fn a_panic_ends_the_work() {
        on_all_cores(3.., |i: u64| assert!(i > 1_000_000, "job 3 and all after it"));
    }
}
