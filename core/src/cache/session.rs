//! Encoding by way of a cache.

use std::prelude::v1::*;

use super::EmbeddingCache;
use crate::stopwatch::Stopwatch;
use crate::{Embedding, Error, ImageView, Session};

impl Session {
    /// Gives the session a cache, which it asks for an embedding before it encodes an image, a window of one or a slice; or
    /// takes it away. Clones of one cache may be given to many sessions.
    pub fn set_cache(&mut self, cache: Option<EmbeddingCache>) {
        self.cache = cache;
    }

    /// The session's cache.
    pub const fn cache(&self) -> Option<&EmbeddingCache> {
        self.cache.as_ref()
    }

    /// Takes the image's embedding from the cache, or encodes the image and puts it in.
    pub(crate) fn encode_through(
        &mut self,
        cache: &EmbeddingCache,
        image: &ImageView<'_>,
        embedding: &mut Embedding,
    ) -> Result<(), Error> {
        let start = Stopwatch::start();
        let key = self.recipe().key(image, cache.format());
        let found = cache.find(&key);
        if let Some(stored) = &found {
            *embedding = Embedding::of_shared(stored.values(), image.frame(), &self.model);
        }
        self.stats.cache += start.elapsed();
        if found.is_some() {
            self.stats.cache_hits += 1;
            return Ok(());
        }
        self.encode_anew(image, embedding)?;
        let start = Stopwatch::start();
        cache.keep(&key, embedding);
        self.stats.cache += start.elapsed();
        Ok(())
    }
}
