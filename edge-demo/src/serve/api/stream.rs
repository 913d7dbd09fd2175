//! An answer that grows: lines of JSON.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::pool::Pending;
use super::super::volume::Progress;

/// Lines of progress, and a last one with what was found. The work ends where this is dropped.
pub(super) struct Lines<T, F> {
    progress: mpsc::Receiver<Progress>,
    pending: Option<Pending<T>>,
    finish: F,
}

impl<T, F> Lines<T, F> {
    pub(super) fn new(progress: mpsc::Receiver<Progress>, pending: Pending<T>, finish: F) -> Self {
        Self { progress, pending: Some(pending), finish }
    }
}

impl<T, F: FnMut(Option<T>) -> Value + Unpin> Stream for Lines<T, F> {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let line = |value: Value| Poll::Ready(Some(Ok(Bytes::from(format!("{value}\n")))));
        let this = &mut *self;
        if this.pending.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Some((done, total))) = this.progress.poll_recv(context) {
            return line(json!({ "done": done, "total": total }));
        }
        let Some(pending) = this.pending.as_mut() else { return Poll::Ready(None) };
        match Pin::new(pending).poll(context) {
            Poll::Ready(found) => {
                this.pending = None;
                line((this.finish)(found))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
