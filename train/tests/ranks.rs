//! Ranks as mpirun starts them: each test runs itself again, twice, and is then one of the two ranks.

mod common;

use std::env;
use std::path::Path;
use std::process::Command;

use common::bench::{Bench, largest};
use common::launch::{STARTED, on_two_ranks, start};
use tch::{Device, Kind, Tensor};
use umedsam_train::ranks::{Ranks, RanksError};

const CPU: Device = Device::Cpu;

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().reshape([-1])).unwrap()
}

#[test]
fn sums_means_and_flags() {
    on_two_ranks("sums_means_and_flags", &[], |ranks| {
        let rank = ranks.rank();
        assert_eq!((ranks.is_first(), ranks.local_rank()), (rank == 0, rank));

        let mut sums = [1.0, rank as f64, 0.1];
        ranks.sum(&mut sums).unwrap();
        assert_eq!(sums, [2.0, 1.0, 0.2]);
        ranks.sum(&mut []).unwrap();

        assert!(ranks.any(rank == 1).unwrap());
        assert!(!ranks.any(false).unwrap());

        // Rank 0 has 0, 1, 2..., rank 1 ten more. A parameter, a transposed view, two kinds, nothing, a scalar.
        let base = Tensor::arange(6, (Kind::Float, CPU)).reshape([2, 3]) + 10.0 * rank as f64;
        let tensors = [
            base.copy().set_requires_grad(true),
            base.copy().transpose(0, 1),
            base.to_kind(Kind::Double) / 3.0,
            Tensor::zeros([0, 3], (Kind::Float, CPU)),
            Tensor::from(rank as f32),
        ];
        ranks.mean(&tensors).unwrap();
        let mean = [5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        assert_eq!(values(&tensors[0]), mean);
        assert_eq!(values(&tensors[1]), [5.0, 8.0, 6.0, 9.0, 7.0, 10.0]);
        assert!(tensors[0].requires_grad() && tensors[0].is_leaf() && !tensors[1].is_contiguous());
        assert!(values(&tensors[2]).iter().zip(mean).all(|(x, mean)| (x - mean / 3.0).abs() < 1e-15));
        assert_eq!(values(&tensors[4]), [0.5]);
        ranks.mean(&[]).unwrap();
        ranks.barrier().unwrap();
    });
}

/// 40 MB and 5 MB: a tensor that fills a bucket alone, and small ones around it. Rounding must be the same on both ranks.
#[test]
fn means_are_the_same_bits_everywhere() {
    on_two_ranks("means_are_the_same_bits_everywhere", &[], |ranks| {
        tch::manual_seed(ranks.rank() as i64);
        let sizes = [1_000, 10_000_000, 7, 1_300_000];
        let tensors = sizes.map(|size| Tensor::randn([size], (Kind::Float, CPU)));
        let mut halves: Vec<f64> = tensors.iter().map(|t| t.sum(Kind::Double).double_value(&[]) / 2.0).collect();
        ranks.sum(&mut halves).unwrap();
        let start = std::time::Instant::now();
        ranks.mean(&tensors).unwrap();
        println!("mean of 45 MB: {:?}", start.elapsed());
        for (tensor, mean) in tensors.iter().zip(halves) {
            assert!((tensor.sum(Kind::Double).double_value(&[]) - mean).abs() < 1e-2);
        }
        let mine = tensors.map(|t| t.copy());
        let first = [0, 1, 2, 3].map(|i: usize| mine[i].copy());
        ranks.broadcast(&first).unwrap();
        assert!(
            mine.iter().zip(&first).all(|(mine, first)| mine.view_dtype(Kind::Int).equal(&first.view_dtype(Kind::Int)))
        );
    });
}

#[test]
fn broadcast_takes_every_kind() {
    on_two_ranks("broadcast_takes_every_kind", &[], |ranks| {
        let kinds = [Kind::Float, Kind::Int64, Kind::Bool, Kind::BFloat16, Kind::Double, Kind::Float];
        let tensors =
            kinds.map(|kind| (Tensor::arange(6, (Kind::Float, CPU)) * (1.0 - ranks.rank() as f64)).to_kind(kind));
        let tensors = tensors.map(|t| t.reshape([2, 3]).transpose(0, 1));
        let parameter = tensors[0].set_requires_grad(true);
        ranks.broadcast(&tensors).unwrap();
        for tensor in &tensors {
            let expected = if tensor.kind() == Kind::Bool { [0, 1, 1, 1, 1, 1] } else { [0, 3, 1, 4, 2, 5] };
            assert_eq!(values(tensor), expected.map(f64::from), "{:?}", tensor.kind());
        }
        assert!(parameter.is_leaf());
    });
}

#[test]
fn other_shapes_are_an_error_on_all_ranks() {
    on_two_ranks("other_shapes_are_an_error_on_all_ranks", &[], |ranks| {
        let shapes = [[2, 3], [3, 2]];
        let tensor = Tensor::ones(shapes[ranks.rank()], (Kind::Float, CPU));
        let error = ranks.mean(&[tensor]).unwrap_err();
        assert!(matches!(error, RanksError::Disagree("mean")), "{error}");
        assert!(matches!(ranks.barrier().unwrap_err(), RanksError::Broken));
    });
}

#[test]
fn other_calls_are_an_error_on_all_ranks() {
    on_two_ranks("other_calls_are_an_error_on_all_ranks", &[], |ranks| {
        let error = if ranks.is_first() { ranks.barrier() } else { ranks.sum(&mut [1.0]) }.unwrap_err();
        assert!(matches!(error, RanksError::Disagree(_)), "{error}");
    });
}

#[test]
fn a_bad_tensor_on_one_rank_is_an_error_on_all() {
    on_two_ranks("a_bad_tensor_on_one_rank_is_an_error_on_all", &[], |ranks| {
        let tensors = [Tensor::ones([2], (Kind::Float, CPU)), Tensor::ones([2], (Kind::Float, CPU)).grad()];
        let error = ranks.mean(&tensors[..2 - ranks.rank()]).unwrap_err();
        match ranks.rank() {
            0 => assert!(matches!(error, RanksError::Undefined(1)), "{error}"),
            _ => assert!(matches!(error, RanksError::Elsewhere("mean")), "{error}"),
        }
    });
}

/// Writing into an expanded tensor fails in libtorch, after the first of two buckets has been sent.
#[test]
fn a_failure_between_buckets_reaches_all_ranks() {
    on_two_ranks("a_failure_between_buckets_reaches_all_ranks", &[], |ranks| {
        let first = Tensor::ones([1], (Kind::Float, CPU));
        let first = if ranks.is_first() { first.expand([3], false) } else { first.repeat([3]) };
        let error = ranks.mean(&[first, Tensor::ones([2], (Kind::Double, CPU))]).unwrap_err();
        match ranks.rank() {
            0 => assert!(matches!(error, RanksError::Torch(_)), "{error}"),
            _ => assert!(matches!(error, RanksError::Elsewhere("mean")), "{error}"),
        }
    });
}

#[test]
fn a_rank_that_ends_early_does_not_leave_the_other_waiting() {
    on_two_ranks("a_rank_that_ends_early_does_not_leave_the_other_waiting", &[], |ranks| {
        if ranks.is_first() {
            let error = ranks.mean(&[Tensor::ones([2], (Kind::Float, CPU))]).unwrap_err();
            assert!(matches!(error, RanksError::Ended("mean")), "{error}");
        }
    });
}

#[test]
fn alone_nothing_changes() {
    if env::var_os(STARTED).is_none() {
        // A process of its own: MPI sets variables that mpirun would see.
        start(Command::new(env::current_exe().unwrap()), "alone_nothing_changes");
        return;
    }
    let ranks = Ranks::new().unwrap();
    assert_eq!((ranks.rank(), ranks.local_rank(), ranks.size(), ranks.is_first()), (0, 0, 1, true));
    let tensor = Tensor::from_slice(&[1.0_f32, 0.1]);
    let before = tensor.copy();
    let mut sums = [0.1, 2.0];
    ranks.mean(&[tensor.shallow_clone()]).unwrap();
    ranks.broadcast(&[tensor.shallow_clone()]).unwrap();
    ranks.sum(&mut sums).unwrap();
    assert!(tensor.equal(&before) && sums == [0.1, 2.0] && ranks.any(true).unwrap() && !ranks.any(false).unwrap());
    let error = ranks.mean(&[tensor.to_kind(Kind::Half)]).unwrap_err();
    assert!(matches!(error, RanksError::NotReal(0, Kind::Half)), "{error}");
    assert!(matches!(Ranks::new().unwrap_err(), RanksError::Twice));
}

#[test]
fn a_launcher_that_is_not_understood_is_an_error() {
    if env::var_os(STARTED).is_none() {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env("SLURM_STEP_NUM_TASKS", "2");
        start(command, "a_launcher_that_is_not_understood_is_an_error");
        return;
    }
    let error = Ranks::new().unwrap_err();
    assert!(matches!(error, RanksError::Launcher { variable: "SLURM_STEP_NUM_TASKS", count: 2 }), "{error}");
}

/// Each rank trains on its half of every batch; one rank on the whole batch takes the same steps.
#[test]
fn two_ranks_train_as_one_with_twice_the_batch() {
    const FOLDER: &str = "UMEDSAM_TEST_FOLDER";
    fn settings(batch: &str) -> [&str; 3] {
        ["training.epochs=1", "optimizer.epsilon=1e-3", batch]
    }
    let folder = tempfile::tempdir().unwrap();
    if env::var_os(STARTED).is_none() {
        Bench::new(folder.path());
    }
    let variables = [(FOLDER, folder.path().as_os_str())];
    on_two_ranks("two_ranks_train_as_one_with_twice_the_batch", &variables, |ranks| {
        let bench = Bench::at(Path::new(&env::var_os(FOLDER).unwrap()));
        tch::set_num_threads(1);
        bench.train(&ranks, &bench.config(&settings("training.batch=1")), "two");
    });
    if env::var_os(STARTED).is_none() {
        let bench = Bench::at(folder.path());
        let two = bench.tensors("two/final.safetensors");
        bench.train(&Ranks::alone(), &bench.config(&settings("training.batch=2")), "one");
        let moved = largest(&two, &bench.tensors("weights.safetensors"));
        let apart = largest(&two, &bench.tensors("one/final.safetensors"));
        assert!(moved > 1e-6 && apart < 1e-3 * moved, "moved {moved:e}, apart {apart:e}");
    }
}
