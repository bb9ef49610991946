//! Wire ⇄ domain: untrusted messages become domain types here, once.

mod fields;
mod replies;
mod requests;
mod training;

pub use fields::Limits;
pub(super) use fields::{Page, request_id};
pub(super) use replies::{count, generation_event, started, timestamp};
pub(super) use requests::*;
pub(super) use training::*;
