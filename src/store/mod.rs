//! SQL rows ⇄ domain, on Postgres and SQLite through sqlx. SQL lives here alone.
//!
//! `store` never fits, scores or talks gRPC.
