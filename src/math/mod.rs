//! The mathematics of the paper, in f64 on nalgebra, with randomness handed in as a seeded generator.
//!
//! | paper | here |
//! |---|---|
//! | Bradley–Terry, Eq. 4 | [`logistic`] |
//! | learning the base reward functions, §4.1, Algorithm 1, Eq. 5 | [`factorization`] |
//! | one user's coefficients, §4.2, Eq. 6 and 8 | [`Posterior`], [`Prior`] |
//! | which question to ask, §4.2, Eq. 7–9 | [`Acquisition`], [`questions`] |
//! | answering with the learned reward, best-of-N | [`guidance`] |
//! | value of a text that is not finished yet, for value-guided sampling | [`NormalEquations`] |
//! | how well choices are predicted, §5 | [`metrics`] |
//!
//! `math` never sees a tensor, a text, a row or a socket, and imports no other room. It draws no randomness but
//! from seeds, reads no clock, and gives the same result whatever the number of threads.

mod acquisition;
mod algebra;
mod cholesky;
mod error;
pub mod factorization;
mod forgetting;
pub mod guidance;
pub mod logistic;
pub mod metrics;
mod normal;
mod posterior;
mod prior;
pub mod questions;
mod ridge;

pub use acquisition::{Acquisition, information_gain};
pub use algebra::eigenpairs;
pub use error::MathError;
pub use forgetting::forgetting_weights;
pub use normal::normal;
pub use posterior::{Evidence, Posterior, SolverReport, Termination};
pub use prior::Prior;
pub use ridge::NormalEquations;
