//! The ranks of MPI.
//!
//! Every call starts with one exchange of a few bytes, in which ranks tell what they are about to do. Its outcome is the
//! same on all of them, so that they go on together or fail together; a message that another rank does not expect is
//! never sent.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::DivAssign;

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use tch::kind::Element;
use tch::{Kind, Tensor};

use super::RanksError;
use super::buckets::{Bucket, pack};

/// MPI counts elements in 31 bits.
const MESSAGE: usize = 1 << 28;

// What a rank says about itself in the exchange; the highest counts.
const WELL: u64 = 0;
const FAILED: u64 = 1;
const ENDING: u64 = 2;

pub(super) struct World {
    rank: usize,
    local_rank: usize,
    size: usize,
    /// After a failure that all ranks know of, none may send anything more.
    broken: Cell<bool>,
    all: SimpleCommunicator,
    /// Ends MPI when dropped, after [`World::drop`].
    _universe: Universe,
}

impl World {
    pub(super) fn start() -> Result<Option<Self>, RanksError> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled).ok_or(RanksError::Twice)?;
        if threading < Threading::Funneled {
            return Err(RanksError::Threads);
        }
        let all = universe.world();
        let number = |n: i32| usize::try_from(n).unwrap_or_default();
        let local_rank = number(all.split_shared(all.rank()).rank());
        let (rank, size) = (number(all.rank()), number(all.size()));
        Ok(Some(Self { rank, local_rank, size, broken: Cell::new(false), all, _universe: universe }))
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    pub(super) fn local_rank(&self) -> usize {
        self.local_rank
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// `valid` is what this rank found wrong with its tensors.
    pub(super) fn mean(&self, tensors: &[Tensor], valid: Result<(), RanksError>) -> Result<(), RanksError> {
        self.agree_on("mean", tensors, valid)?;
        let size = self.size as f64;
        self.each(tensors, "mean", |bucket, trouble| match bucket.kind {
            Kind::Double => self.mean_of(bucket, size, trouble),
            _ => self.mean_of(bucket, size as f32, trouble),
        })
    }

    pub(super) fn broadcast(&self, tensors: &[Tensor], valid: Result<(), RanksError>) -> Result<(), RanksError> {
        self.agree_on("broadcast", tensors, valid)?;
        self.each(tensors, "broadcast", |bucket, trouble| self.broadcast_of(bucket, trouble))
    }

    pub(super) fn sum(&self, values: &mut [f64]) -> Result<(), RanksError> {
        self.agree("sum", &values.len(), false, Ok(()))?;
        let own = values.to_vec();
        self.sum_into(&own, values);
        Ok(())
    }

    pub(super) fn any(&self, flag: bool) -> Result<bool, RanksError> {
        self.agree("any", &(), flag, Ok(()))
    }

    pub(super) fn barrier(&self) -> Result<(), RanksError> {
        self.agree("barrier", &(), false, Ok(())).map(drop)
    }

    fn agree_on(
        &self,
        call: &'static str,
        tensors: &[Tensor],
        valid: Result<(), RanksError>,
    ) -> Result<(), RanksError> {
        // Undefined tensors have no kind.
        let layout: Vec<_> =
            if valid.is_ok() { tensors.iter().map(|t| (t.kind(), t.size())).collect() } else { Vec::new() };
        self.agree(call, &layout, false, valid).map(drop)
    }

    /// Whether any rank's `flag` is true, if all ranks are in this call with equal `layout` and without an error.
    fn agree(
        &self,
        call: &'static str,
        layout: &impl Hash,
        flag: bool,
        valid: Result<(), RanksError>,
    ) -> Result<bool, RanksError> {
        if self.broken.get() {
            return Err(RanksError::Broken);
        }
        let verdict = match self.exchange(call, layout, flag, if valid.is_ok() { WELL } else { FAILED }) {
            _ if valid.is_err() => valid.map(|()| flag),
            (ENDING, ..) => Err(RanksError::Ended(call)),
            (FAILED, ..) => Err(RanksError::Elsewhere(call)),
            (_, false, _) => Err(RanksError::Disagree(call)),
            (_, true, flag) => Ok(flag),
        };
        self.broken.set(verdict.is_err());
        verdict
    }

    /// How the worst rank is, whether all have the same `call` and `layout`, and whether any has `flag`.
    fn exchange(&self, call: &str, layout: &impl Hash, flag: bool, state: u64) -> (u64, bool, bool) {
        // Fixed keys: equal on all ranks, which run the same program.
        let mut hasher = DefaultHasher::new();
        (call, layout).hash(&mut hasher);
        let digest = hasher.finish();
        // The highest of all digests and, complemented, the lowest.
        let own = [digest, !digest, state, u64::from(flag)];
        let mut highest = own;
        self.all.all_reduce_into(&own, &mut highest, SystemOperation::max());
        let [high, low, state, flag] = highest;
        (state, high == !low, flag == 1)
    }

    /// Sends bucket after bucket. `send` is told of this rank's failure and tells whether some rank has failed.
    ///
    /// A rank that failed, say without memory on its device, takes part in the next bucket nevertheless, for the others
    /// wait for it there.
    fn each(
        &self,
        tensors: &[Tensor],
        call: &'static str,
        send: impl Fn(&Bucket<'_>, &mut Result<(), RanksError>) -> bool,
    ) -> Result<(), RanksError> {
        let mut own = Ok(());
        if self.size > 1 {
            for bucket in &pack(tensors) {
                if send(bucket, &mut own) {
                    self.broken.set(true);
                    return own.and(Err(RanksError::Elsewhere(call)));
                }
            }
        }
        own
    }

    fn mean_of<T>(&self, bucket: &Bucket<'_>, size: T, own: &mut Result<(), RanksError>) -> bool
    where
        T: Element + Equivalence + Copy + DivAssign + PartialEq,
    {
        // The last element tells of failures.
        let mut sent = vec![T::ZERO; bucket.len + 1];
        if own.is_ok() {
            *own = bucket.read().and_then(|t| t.f_copy_data(&mut sent, bucket.len)).map_err(RanksError::from);
        }
        if own.is_err() {
            sent[bucket.len] = size;
        }
        let mut sums = vec![T::ZERO; sent.len()];
        self.sum_into(&sent, &mut sums);
        let failed = sums.pop() != Some(T::ZERO);
        if !failed {
            sums.iter_mut().for_each(|sum| *sum /= size);
            *own = Tensor::f_from_slice(&sums).and_then(|t| bucket.write(&t)).map_err(RanksError::from);
        }
        failed
    }

    fn broadcast_of(&self, bucket: &Bucket<'_>, own: &mut Result<(), RanksError>) -> bool {
        let bytes = bucket.len * bucket.kind.elt_size_in_bytes();
        let mut buffer = vec![0_u8; bytes + 1];
        if self.rank == 0 {
            *own = bucket.read().and_then(|t| t.f_copy_data_u8(&mut buffer, bucket.len)).map_err(RanksError::from);
            buffer[bytes] = u8::from(own.is_err());
        }
        for part in buffer.chunks_mut(MESSAGE) {
            self.all.process_at_rank(0).broadcast_into(part);
        }
        let failed = buffer.pop() != Some(0);
        if !failed && self.rank != 0 && own.is_ok() {
            let len = [i64::try_from(bucket.len).unwrap_or_default()];
            *own = Tensor::f_from_data_size(&buffer, &len, bucket.kind)
                .and_then(|t| bucket.write(&t))
                .map_err(RanksError::from);
        }
        failed
    }

    /// MPI demands of its implementations that all ranks get identical results (MPI 3.1, section 5.9.6).
    fn sum_into<T: Equivalence>(&self, own: &[T], sums: &mut [T]) {
        for (own, sums) in own.chunks(MESSAGE).zip(sums.chunks_mut(MESSAGE)) {
            self.all.all_reduce_into(own, sums, SystemOperation::sum());
        }
    }
}

impl Drop for World {
    /// Tells the others, which would else wait in their next call for ever.
    fn drop(&mut self) {
        if !self.broken.get() {
            self.exchange("end", &(), false, ENDING);
        }
    }
}
