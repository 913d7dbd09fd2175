//! One training over many processes, its ranks: each has its own part of the data, and after each backward pass all have
//! the mean of their gradients.
//!
//! Ranks are what MPI's launcher starts (mpirun, or Slurm's `srun --mpi=pmix`), and need the feature `mpi`. Without it,
//! or without a launcher, there is one rank, and the calls here change nothing.
//!
//! All ranks must make the same calls in the same order, with tensors of the same kinds and shapes; where they do not, all
//! get an error and none waits for ever. After such an error every further call fails, so that a rank is to hand it up
//! and end. A rank that ends for a reason of its own makes the others' next call fail in the same way. Only a process that
//! is killed, or ends without dropping its [`Ranks`], is left to the launcher, which then ends the others.

#[cfg(not(feature = "mpi"))]
mod alone;
#[cfg(feature = "mpi")]
mod buckets;
#[cfg(feature = "mpi")]
mod world;

use std::fmt;
use std::marker::PhantomData;

#[cfg(not(feature = "mpi"))]
use alone::World;
use tch::{Kind, TchError, Tensor};
#[cfg(feature = "mpi")]
use world::World;

/// What launchers tell the processes that they start: how many of them there are. Open MPI; MPICH and Slurm's PMI; Slurm.
const LAUNCHED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

const ALONE: &str = if cfg!(feature = "mpi") {
    "the launcher is not of the MPI that this program is linked with (in Slurm: srun --mpi=pmix)"
} else {
    "this program is built without the feature mpi"
};

/// Why ranks do not work together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// A launcher started several processes, each of which would believe itself alone.
    #[error("{variable} says that {count} ranks were started, but each sees only itself: {ALONE}")]
    Launcher {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        count: usize,
    },
    /// MPI was initialised before in this process, which it allows once.
    #[error("MPI can be initialised only once in a process")]
    Twice,
    /// The MPI library does not allow for threads, which libtorch starts.
    #[error("this MPI library does not work with threads")]
    Threads,
    /// The tensor at this position is undefined, as the gradient of a parameter that had no part in the loss.
    #[error("tensor {0} is undefined")]
    Undefined(usize),
    /// The tensor at this position has values that cannot be averaged here: f32 and f64 can.
    #[error("tensor {0} is of kind {1:?}, and only Float and Double can be averaged")]
    NotReal(usize, Kind),
    /// Ranks are in different calls, or their tensors have different kinds or shapes.
    #[error(
        "ranks disagree: this one is in {0}, and not all the others are, with tensors of the same kinds and shapes"
    )]
    Disagree(&'static str),
    /// The call failed on another rank, which knows why.
    #[error("{0} failed on another rank, whose own error says why")]
    Elsewhere(&'static str),
    /// Another rank has ended, while this one still works.
    #[error("another rank ended while this one was in {0}")]
    Ended(&'static str),
    /// An earlier call failed.
    #[error("ranks no longer work together, since an earlier call failed")]
    Broken,
    /// libtorch failed, say for want of memory.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

/// The processes that train together, as one of them sees them.
pub struct Ranks {
    /// `None` where there is no MPI.
    world: Option<World>,
    /// MPI is called by the thread that initialised it.
    _not_send: PhantomData<*const ()>,
}

impl Ranks {
    /// Initialises MPI, if this is built with it. Once in a process, by the thread that will use it.
    ///
    /// # Errors
    /// [`RanksError::Launcher`] where a launcher started several processes that cannot find each other,
    /// [`RanksError::Twice`], [`RanksError::Threads`]. If MPI itself cannot start, it ends the process.
    pub fn new() -> Result<Self, RanksError> {
        let ranks = Self { world: World::start()?, _not_send: PhantomData };
        if ranks.size() == 1 {
            let count = |variable| std::env::var(variable).ok()?.parse::<usize>().ok().filter(|&count| count > 1);
            if let Some((variable, count)) = LAUNCHED.into_iter().find_map(|v| Some((v, count(v)?))) {
                return Err(RanksError::Launcher { variable, count });
            }
        }
        Ok(ranks)
    }

    /// One rank, and no MPI.
    pub const fn alone() -> Self {
        Self { world: None, _not_send: PhantomData }
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.world.as_ref().map_or(0, World::rank)
    }

    /// This process's number among those on the same machine, from 0: the CUDA device for it to take.
    pub fn local_rank(&self) -> usize {
        self.world.as_ref().map_or(0, World::local_rank)
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.world.as_ref().map_or(1, World::size)
    }

    /// Whether this is rank 0, the one to write files and messages.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Puts the mean over all ranks into each tensor, in place; to the bit the same on all ranks.
    ///
    /// Tensors are of kind Float or Double, on any device, and need not be contiguous. They go through the host's memory,
    /// some 32 MiB at a time.
    ///
    /// # Errors
    /// [`RanksError::Undefined`], [`RanksError::NotReal`] and [`RanksError::Torch`] about this rank's tensors, the others
    /// about the other ranks. After an error each tensor holds what it held or the mean.
    pub fn mean(&self, tensors: &[Tensor]) -> Result<(), RanksError> {
        let valid = check(tensors, |kind| matches!(kind, Kind::Float | Kind::Double));
        match &self.world {
            Some(world) => world.mean(tensors, valid),
            None => valid,
        }
    }

    /// Copies rank 0's tensors into the others', in place. Any kind, device and layout, as parameters and buffers are.
    ///
    /// # Errors
    /// [`RanksError::Undefined`] and [`RanksError::Torch`] about this rank's tensors, the others about the other ranks.
    /// After an error each tensor holds what it held or rank 0's values.
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<(), RanksError> {
        let valid = check(tensors, |_| true);
        match &self.world {
            Some(world) => world.broadcast(tensors, valid),
            None => valid,
        }
    }

    /// Puts the sum over all ranks into each value: metrics' sums and counts. To the bit the same on all ranks.
    ///
    /// # Errors
    /// If ranks are out of step, or have different numbers of values.
    pub fn sum(&self, values: &mut [f64]) -> Result<(), RanksError> {
        self.world.as_ref().map_or(Ok(()), |world| world.sum(values))
    }

    /// Whether any rank's `flag` is true: how all ranks stop together when one of them is to stop.
    ///
    /// # Errors
    /// If ranks are out of step.
    pub fn any(&self, flag: bool) -> Result<bool, RanksError> {
        self.world.as_ref().map_or(Ok(flag), |world| world.any(flag))
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// If ranks are out of step.
    pub fn barrier(&self) -> Result<(), RanksError> {
        self.world.as_ref().map_or(Ok(()), World::barrier)
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranks").field("rank", &self.rank()).field("size", &self.size()).finish()
    }
}

/// Whether all tensors are there and of a kind that fits.
fn check(tensors: &[Tensor], fits: impl Fn(Kind) -> bool) -> Result<(), RanksError> {
    for (i, tensor) in tensors.iter().enumerate() {
        if !tensor.defined() {
            return Err(RanksError::Undefined(i));
        }
        let kind = tensor.f_kind()?;
        if !fits(kind) {
            return Err(RanksError::NotReal(i, kind));
        }
    }
    Ok(())
}
