//! Without MPI there are no others.

use tch::Tensor;

use super::RanksError;

pub(super) enum World {}

impl World {
    pub(super) fn start() -> Result<Option<Self>, RanksError> {
        Ok(None)
    }

    pub(super) fn rank(&self) -> usize {
        match *self {}
    }

    pub(super) fn local_rank(&self) -> usize {
        match *self {}
    }

    pub(super) fn size(&self) -> usize {
        match *self {}
    }

    pub(super) fn mean(&self, _: &[Tensor], _: Result<(), RanksError>) -> Result<(), RanksError> {
        match *self {}
    }

    pub(super) fn broadcast(&self, _: &[Tensor], _: Result<(), RanksError>) -> Result<(), RanksError> {
        match *self {}
    }

    pub(super) fn sum(&self, _: &mut [f64]) -> Result<(), RanksError> {
        match *self {}
    }

    pub(super) fn any(&self, _: bool) -> Result<bool, RanksError> {
        match *self {}
    }

    pub(super) fn barrier(&self) -> Result<(), RanksError> {
        match *self {}
    }
}
