//! The gRPC edge: services, conversion, limits, health.
//!
//! Handlers are thin: validate, convert, call one engine verb, convert back. This room holds no state of its own,
//! no SQL and no mathematics, and makes no decision about a person.

mod answer;
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
mod training;

pub use convert::Limits;
pub use http::serve_http;
pub use metrics::{CallMetrics, serve_metrics};
pub use server::{ServeError, ServiceConfig, serve};

use crate::domain::TenantId;

/// The messages and services of `proto/pref/v1`, generated.
pub mod proto {
    tonic::include_proto!("pref.v1");

    /// The compiled `.proto` files, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("pref_descriptor");
}

/// Whose call it is. Without authentication, which binds to loopback only, everything belongs to one tenant.
fn tenant_of<T>(_request: &tonic::Request<T>) -> TenantId {
    TenantId::default_tenant()
}
