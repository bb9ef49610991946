//! The evaluation protocol (§5), its methods side by side, reports, and the synthetic Attributes set (App. B.1).
//!
//! `evaluate` never sees a database or a socket.

pub mod attributes;

mod error;
mod method;
mod protocol;
mod report;
mod study;

pub use error::EvaluateError;
pub use method::Method;
pub use protocol::{Cut, JudgedPair, MIN_TEST, Person, people};
pub use report::{BASELINE, Cohort, Gain, Point, Report};
pub use study::{Protocol, evaluate};
