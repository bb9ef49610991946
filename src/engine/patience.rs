use std::time::Duration;

use super::EngineError;
use crate::model::ModelError;

/// How long to wait for a place in the model's queue.
const QUEUE_WAIT: Duration = Duration::from_millis(20);

/// What `ask` ends with once the model's queue has a place for it: for work that nobody waits for at a keyboard, and whose
/// turn is after those who do.
pub(super) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    loop {
        match ask().await {
            Err(EngineError::Model(ModelError::QueueFull { .. })) => tokio::time::sleep(QUEUE_WAIT).await,
            ended => return ended,
        }
    }
}
