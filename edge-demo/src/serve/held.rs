//! What the server's images share.

use std::sync::Arc;

use umedsam_demo::shown::Recent;

use super::limits::{Budget, Room};
use super::refusal::Refusal;

/// Embeddings of all images that are at hand at once.
pub(super) const RECENT: usize = 64;

/// The memory that all images may take, and the embeddings at hand.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) budget: Budget,
    pub(super) recent: Arc<Recent>,
}

/// Room of the budget, or a refusal.
pub(super) fn room(budget: &Budget, bytes: u64) -> Result<Room, Refusal> {
    budget.take(bytes).ok_or_else(no_room)
}

pub(super) fn no_room() -> Refusal {
    Refusal::busy("no memory left for another image; close one", 30)
}
