//! The gRPC and HTTP edges: who calls, services, conversion, limits, health.
//!
//! Handlers are thin: validate, convert, call one engine verb, convert back. This room keeps nothing of what is served, has
//! no SQL and no mathematics, and makes no decision about a person.

mod answer;
mod auth;
mod candidates;
mod convert;
mod deadline;
mod error;
mod health;
mod http;
mod messages;
mod metrics;
mod personalization;
mod reason;
mod server;
mod stack;
mod tenant_limits;
mod training;

pub use auth::{Access, KeySource, TokenConfig, TokenError, Tokens};
pub use convert::Limits;
pub use http::serve_http;
pub use metrics::{CallMetrics, serve_metrics};
pub use server::{ServeError, ServiceConfig, serve};
pub use tenant_limits::TenantLimits;

/// The messages and services of `proto/pref/v1`, generated.
pub mod proto {
    tonic::include_proto!("pref.v1");

    /// The compiled `.proto` files, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("pref_descriptor");
}
