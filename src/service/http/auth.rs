use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Edge;
use super::error::HttpError;
use crate::domain::{Caller, Scope};
use crate::service::auth::Subject;

/// Lets a call in whose credential has the scope of its path, within its tenant's rate, and leaves the [`Caller`] with the
/// request. Every path of this edge is about one person, or about what everybody may know.
pub(super) async fn admit(
    State((edge, scope)): State<(Edge, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let admitted = edge.authenticator.admit(request.headers(), scope, Subject::Person);
    let caller =
        tokio::time::timeout(edge.patience, admitted).await.map_err(|_| HttpError::late(edge.patience))??;
    edge.tenants.admit(&caller.tenant)?;
    request.extensions_mut().insert::<Arc<Caller>>(caller);
    Ok(next.run(request).await)
}
