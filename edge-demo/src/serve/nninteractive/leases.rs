//! Leases: one for each client, with its image and its object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use umedsam_demo::shown::Shown;

use super::super::app::secret;
use super::super::limits::Room;
use super::super::refusal::Refusal;
use super::target::Target;

/// How long a client may be silent.
pub(super) const LIVENESS: Duration = Duration::from_secs(60);

/// Leases by their tokens.
pub(in super::super) struct Leases {
    open: Mutex<BTreeMap<String, Lease>>,
    pub(super) max: usize,
    pub(super) idle: Duration,
}

struct Lease {
    /// When its client last asked for something, and when it was last heard of.
    used: Instant,
    alive: Instant,
    work: Arc<tokio::sync::Mutex<Work>>,
}

/// What a client works on; its requests take turns.
#[derive(Default)]
pub(super) struct Work {
    pub(super) image: Option<(Arc<Shown>, Room)>,
    pub(super) target: Option<(Target, Room)>,
}

impl Work {
    pub(super) fn image(&self) -> Result<Arc<Shown>, Refusal> {
        self.image.as_ref().map(|(image, _)| image.clone()).ok_or_else(|| Refusal::bad("set_image comes first"))
    }

    pub(super) fn target(&mut self) -> Result<&mut Target, Refusal> {
        let target = self.target.as_mut().map(|(target, _)| target);
        target.ok_or_else(|| Refusal::bad("set_target_buffer comes first"))
    }
}

/// What a request is to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// A person's action.
    Use,
    /// A sign of life.
    Beat,
    /// A look, which changes nothing.
    Look,
}

impl Leases {
    pub(in super::super) fn new(max: usize, idle: Duration) -> Self {
        Self { open: Mutex::default(), max, idle }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, lease: &Lease) -> bool {
        lease.used.elapsed() > self.idle || lease.alive.elapsed() > LIVENESS
    }

    /// A new lease.
    pub(super) fn claim(&self) -> Result<String, Refusal> {
        self.drop_idle();
        let mut open = self.open();
        if open.len() >= self.max {
            return Err(Refusal::busy(format!("all {} sessions are taken", self.max), 60));
        }
        let (token, now) = (secret()?, Instant::now());
        open.insert(token.clone(), Lease { used: now, alive: now, work: Arc::default() });
        Ok(token)
    }

    /// What a client works on, and the time that is left to it if it does nothing.
    pub(super) fn touch(
        &self,
        token: Option<&str>,
        touch: Touch,
    ) -> Result<(Arc<tokio::sync::Mutex<Work>>, Duration), Refusal> {
        let mut open = self.open();
        let lease = token.and_then(|token| open.get_mut(token)).filter(|lease| !self.is_over(lease));
        let lease =
            lease.ok_or_else(|| Refusal::new(StatusCode::GONE, "the session has expired, or is not known here"))?;
        let now = Instant::now();
        if touch != Touch::Look {
            lease.alive = now;
        }
        if touch == Touch::Use {
            lease.used = now;
        }
        Ok((lease.work.clone(), self.idle.saturating_sub(lease.used.elapsed())))
    }

    /// Ends a lease, if it is there.
    pub(super) fn release(&self, token: &str) {
        let lease = self.open().remove(token);
        drop(lease);
    }

    pub(in super::super) fn drop_idle(&self) {
        let mut open = self.open();
        let over: Vec<String> =
            open.iter().filter(|(_, lease)| self.is_over(lease)).map(|(token, _)| token.clone()).collect();
        let ended: Vec<Lease> = over.iter().filter_map(|token| open.remove(token)).collect();
        drop(open);
        // Outside of the lock: images are large.
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_end() {
        let leases = Leases::new(1, Duration::from_millis(30));
        let token = leases.claim().unwrap();
        assert!(leases.claim().is_err());
        let touch = |touch| leases.touch(Some(&token), touch).is_ok();
        assert!(
            touch(Touch::Look)
                && leases.touch(None, Touch::Use).is_err()
                && leases.touch(Some("x"), Touch::Use).is_err()
        );
        std::thread::sleep(Duration::from_millis(20));
        assert!(touch(Touch::Use));
        std::thread::sleep(Duration::from_millis(20));
        // A beat does not put the end off.
        assert!(touch(Touch::Beat));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!touch(Touch::Use));
        let other = leases.claim().unwrap();
        leases.release(&other);
        leases.release(&other);
        assert!(leases.claim().is_ok());
    }
}
