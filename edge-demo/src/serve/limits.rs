//! What the server takes on at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a client may neither send more of a body nor take more of an answer.
pub(super) const STALL: Duration = Duration::from_secs(20);

/// Bounds of the server. A request beyond one is refused at once.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of one request's body.
    pub(super) body: u64,
    /// Bytes that all images together may take, with what is on its way.
    pub(super) memory: u64,
    /// Bytes that one image may take to read.
    pub(super) image: u64,
    /// Connections at the same time.
    pub(super) connections: usize,
    /// Sessions at the same time: of pages, and as many of nnInteractive's clients.
    pub(super) sessions: usize,
    /// Images of a session.
    pub(super) images: usize,
    /// Requests that wait for a thread.
    pub(super) queue: usize,
    /// Boxes of a request.
    pub(super) boxes: usize,
    /// How long a client may take to send a header, and a session may be idle.
    pub(super) header: Duration,
    pub(super) idle: Duration,
    /// How long a body may take to arrive, a slice's masks to be made, and a volume.
    pub(super) upload: Duration,
    pub(super) masks: Duration,
    pub(super) volume: Duration,
}

impl Limits {
    /// The limits of a server that may take so many bytes for images.
    pub(super) fn within(memory: u64) -> Self {
        Self {
            body: memory.min(2 << 30),
            memory,
            image: memory.min(2 << 30),
            connections: 256,
            sessions: 32,
            images: 8,
            queue: 64,
            boxes: 256,
            header: Duration::from_secs(20),
            idle: Duration::from_secs(1800),
            upload: Duration::from_secs(300),
            masks: Duration::from_secs(30),
            volume: Duration::from_secs(1800),
        }
    }
}

/// A number of bytes that images and requests share.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<(AtomicU64, u64)>);

impl Budget {
    pub(super) fn new(max: u64) -> Self {
        Self(Arc::new((AtomicU64::new(0), max)))
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.0.1.saturating_sub(self.used())
    }

    /// Room for so many bytes, until it is dropped; nothing where there is none.
    pub(super) fn take(&self, bytes: u64) -> Option<Room> {
        let mut room = Room { budget: self.clone(), bytes: 0 };
        room.grow(bytes).then_some(room)
    }
}

/// A part of a budget.
#[derive(Debug)]
pub(super) struct Room {
    budget: Budget,
    bytes: u64,
}

impl Room {
    /// Takes so many bytes more, if they are there.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let (used, max) = &*self.budget.0;
        let fits = |now: u64| now.checked_add(bytes).filter(|sum| sum <= max);
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let budget = Budget::new(10);
        let six = budget.take(6).unwrap();
        assert!(budget.take(5).is_none() && budget.take(u64::MAX).is_none());
        let mut four = budget.take(1).unwrap();
        assert!(four.grow(3) && !four.grow(1) && budget.left() == 0);
        drop(six);
        assert_eq!(budget.used(), 4);
        drop(four);
        assert_eq!(budget.used(), 0);
    }
}
