//! Sessions of pages: each has its own images, which no other sees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::app::{App, secret};
use super::image::Image;
use super::refusal::Refusal;

/// How often idle sessions are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// Sessions by their secret names.
pub(super) struct Sessions {
    open: Mutex<BTreeMap<String, Client>>,
    max: usize,
    idle: Duration,
}

struct Client {
    images: BTreeMap<u64, Arc<Image>>,
    next: u64,
    used: Instant,
}

impl Sessions {
    pub(super) fn new(max: usize, idle: Duration) -> Self {
        Self { open: Mutex::default(), max, idle }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of sessions.
    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Opens a session.
    pub(super) fn claim(&self) -> Result<String, Refusal> {
        let mut open = self.open();
        if open.len() >= self.max {
            return Err(Refusal::busy(format!("all {} sessions are taken", self.max), 60));
        }
        let name = secret()?;
        open.insert(name.clone(), Client { images: BTreeMap::new(), next: 1, used: Instant::now() });
        Ok(name)
    }

    /// Ends a session.
    pub(super) fn release(&self, name: &str) {
        let client = self.open().remove(name);
        // Outside of the lock: images are large.
        drop(client);
    }

    /// Does something with a session that is open.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Client) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut open = self.open();
        let client = open.get_mut(name).ok_or_else(|| Refusal::missing("this session"))?;
        client.used = Instant::now();
        act(client)
    }

    /// Refuses a session that is not open, or has its number of images.
    pub(super) fn check_room(&self, name: &str, max: usize) -> Result<(), Refusal> {
        self.with(name, |client| match client.images.len() < max {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::CONFLICT, format!("a session holds {max} images; close one"))),
        })
    }

    /// Takes an image in, under a number.
    pub(super) fn keep(&self, name: &str, image: Image, max: usize) -> Result<(u64, Arc<Image>), Refusal> {
        self.check_room(name, max)?;
        self.with(name, |client| {
            let (id, image) = (client.next, Arc::new(image));
            client.next += 1;
            client.images.insert(id, image.clone());
            Ok((id, image))
        })
    }

    /// An image of a session.
    pub(super) fn image(&self, name: &str, id: u64) -> Result<Arc<Image>, Refusal> {
        self.with(name, |client| client.images.get(&id).cloned().ok_or_else(|| Refusal::missing("this image")))
    }

    /// Forgets an image.
    pub(super) fn forget(&self, name: &str, id: u64) -> Result<(), Refusal> {
        let image = self.with(name, |client| Ok(client.images.remove(&id)))?;
        image.map(drop).ok_or_else(|| Refusal::missing("this image"))
    }

    fn drop_idle(&self) {
        let mut open = self.open();
        let idle: Vec<String> =
            open.iter().filter(|(_, client)| client.used.elapsed() > self.idle).map(|(name, _)| name.clone()).collect();
        let ended: Vec<_> = idle.iter().filter_map(|name| open.remove(name)).collect();
        drop(open);
        drop(ended);
    }
}

/// Ends idle sessions as long as the server is there.
pub(super) async fn expire(app: Weak<App>) {
    loop {
        tokio::time::sleep(ROUND).await;
        let Some(app) = app.upgrade() else { return };
        app.sessions.drop_idle();
        app.leases.drop_idle();
        app.first.drop_idle(app.limits.idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_bounded_and_expire() {
        let sessions = Sessions::new(2, Duration::ZERO);
        let (a, b) = (sessions.claim().unwrap(), sessions.claim().unwrap());
        assert!(a != b && a.len() == 32 && sessions.claim().is_err());
        sessions.release(&a);
        assert!(sessions.image(&a, 1).is_err() && sessions.check_room(&b, 1).is_ok());
        std::thread::sleep(Duration::from_millis(2));
        sessions.drop_idle();
        assert_eq!(sessions.len(), 0);
    }
}
