//! Generators of responses and the strategies that choose among them.
//!
//! `generate` never sees a row or a socket of ours, and never trains.
