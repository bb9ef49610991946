//! The real server on a port of its own, with a database of its own, through its API; every test on both stores.

#[path = "../support/made_decoder.rs"]
mod made_decoder;
#[path = "../support/mutate.rs"]
mod mutate;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/shared_model.rs"]
mod shared_model;
#[path = "../support/skip.rs"]
mod skip;

mod activation;
mod answers;
mod app;
mod artifact;
mod chat_errors;
mod commands;
mod completions;
mod concurrency;
mod edge;
mod encryption;
mod faults;
mod feedback;
mod fuzz;
mod generated;
mod histories;
mod identity;
mod json;
mod keys;
mod lifecycle;
mod logs;
mod metrics;
mod overload;
mod people;
mod pools;
mod process;
mod questions;
mod refusals;
mod rejection;
mod replicas;
mod residency;
mod streams;
mod tenants;
mod tokens;
mod training;
mod upstream;

/// Runs the test twice, on SQLite and on Postgres, as `name::sqlite` and `name::postgres`.
macro_rules! on_both_stores {
    ($(#[$doc:meta])* async fn $name:ident($app:ident) $body:block) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all that its file imports")]
            use super::*;

            async fn test($app: &crate::app::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let app = crate::app::TestApp::on_sqlite().await;
                test(&app).await;
                app.stop().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(app) = crate::app::TestApp::on_postgres(module_path!()).await {
                    test(&app).await;
                    app.stop().await;
                }
            }
        }
    };
}
pub(crate) use on_both_stores;
