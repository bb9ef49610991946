use std::time::Duration;

use futures::{Stream, stream};
use tonic::{Status, Streaming};

use super::answer::of_codec;
use super::error::status;
use super::reason::Reason;

/// A client's messages as they arrive. One that cannot be read ends them, and so does one that lets the server wait:
/// a stream may be as long as it likes, but not idle.
pub(super) struct Messages<T> {
    stream: Streaming<T>,
    patience: Duration,
}

impl<T: Send + 'static> Messages<T> {
    /// Waits at most `patience` for each message.
    pub(super) fn new(stream: Streaming<T>, patience: Duration) -> Self {
        Self { stream, patience }
    }

    /// The next message; nothing after the last.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Status> {
        match tokio::time::timeout(self.patience, self.stream.message()).await {
            Ok(message) => message.map_err(|told| of_codec(&told).unwrap_or(told)),
            Err(_) => {
                let told = format!("no message came within {:?}", self.patience);
                Err(status(Reason::DeadlineExceeded, told))
            }
        }
    }

    /// The messages that are left; the first error is the last item.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<T, Status>> + Send {
        stream::try_unfold(self, |mut messages| async move {
            Ok(messages.next().await?.map(|message| (message, messages)))
        })
    }
}
