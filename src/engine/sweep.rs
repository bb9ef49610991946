use std::time::Duration;

use super::Engine;

/// How often what has had its time is thrown away.
const INTERVAL: Duration = Duration::from_secs(3600);

impl Engine {
    /// Throws old replies and unanswered questions away once an hour until the engine drains, as one of its tasks. Every
    /// server does; one sweep more harms nothing.
    pub fn spawn_sweeper(&self) {
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let draining = engine.draining().clone();
            while draining.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
                match engine.store().sweep(engine.now()).await {
                    Ok(swept) => {
                        tracing::debug!(swept.requests, swept.queries, swept.choices, "old rows thrown away")
                    }
                    Err(error) => tracing::warn!(%error, "old rows could not be thrown away"),
                }
            }
        });
    }
}
