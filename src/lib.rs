//! `pref` answers each person in the way that person likes, after about ten questions.
//!
//! It implements *Language Model Personalization via Reward Factorization* (PReF, arXiv 2503.06358) as a gRPC
//! service. A user's reward is a linear combination of learned base reward functions, r(x, y) = λᵀφ(x, y):
//! φ is learned offline from many users' comparisons, λ online from a few well-chosen questions.
//!
//! | symbol | meaning |
//! |---|---|
//! | x, y | prompt, response |
//! | h(x, y) ∈ Rᵈ | the backbone's embedding |
//! | φ(x, y) = W h ∈ Rᴶ | base reward functions |
//! | δ = φ(x, y₁) − φ(x, y₂) | a comparison's feature difference |
//! | λ ∈ Rᴶ | a user's coefficients |
//! | a ∈ \[0, 1\], w | outcome (1 first preferred, 0 second, ½ tie) and its weight |
//! | σ(z), σ′(z) | logistic function and its derivative; p = σ(λᵀδ) (Bradley–Terry, Eq. 4) |
//! | H = Σ w σ′(λᵀδ) δδᵀ + P | Hessian of the negative log posterior at λ (Eq. 8) |
//! | N(μ, Σ) | population prior of λ, P = Σ⁻¹ |
//!
//! # Rooms
//!
//! Every room but [`math`], which imports nothing, may use [`domain`]; beyond that the arrows are
//! `model → math`, `generate → model, math`, `train → generate, model, math`,
//! `evaluate → train, generate, model, math`, `store → domain`, `engine → all of these`,
//! `service → engine`, `cli → all`. `tests/rooms.rs` keeps them.
//!
//! # Reading order
//!
//! [`math`] beside the paper; then [`train`] (the offline half, §4.1), [`engine`] (the online half, §4.2),
//! and [`service`] for what goes over the wire.

pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod evaluate;
pub mod generate;
pub mod math;
pub mod model;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod train;

// The tests' one way of leaving something out (tests/skips.txt).
#[cfg(test)]
#[path = "../tests/support/skip.rs"]
mod skip;
