//! The evaluation protocol (§5), its methods side by side, reports, and the synthetic Attributes set (App. B.1).
//!
//! `evaluate` never sees a database or a socket.

pub mod attributes;

mod contestants;
mod corpus;
mod error;
mod evaluation;
pub mod generation;
pub mod known_phi;
mod method;
mod models;
mod plot;
mod protocol;
mod report;
mod search;
mod sets;
pub mod studies;
mod study;

pub use contestants::{Contestants, TrainedMethod, Training};
pub use error::EvaluateError;
pub use evaluation::Evaluation;
pub use method::Method;
pub use plot::{Chart, Curve};
pub use protocol::{Cut, JudgedPair, MIN_TEST, Person, people};
pub use report::{BASELINE, Cohort, Gain, Point, Report};
pub use search::Tuning;
pub use sets::Set;
pub use study::{Protocol, evaluate, refuse_known_people};
