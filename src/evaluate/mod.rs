//! The evaluation protocol (§5), its baselines, reports, and the synthetic Attributes set (App. B.1).
//!
//! `evaluate` never sees a database or a socket.
