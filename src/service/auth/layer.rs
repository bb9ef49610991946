use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{BoxError, Layer, Service, ServiceExt};

use super::Authenticator;
use super::methods::{Demand, demand};
use crate::domain::Caller;
use crate::service::error::Refusal;
use crate::service::reason::Reason;
use crate::service::tenant_limits::TenantLimits;

/// Lets a call in whose credential is good for it, within its tenant's rate, and leaves the [`Caller`] with the request.
#[derive(Clone)]
pub(in crate::service) struct AuthLayer {
    authenticator: Authenticator,
    tenants: TenantLimits,
}

impl AuthLayer {
    pub(in crate::service) fn new(authenticator: Authenticator, tenants: TenantLimits) -> Self {
        Self { authenticator, tenants }
    }

    async fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        let (scope, subject) = match demand(request.uri().path()) {
            Some(Demand::Nothing) => return Ok(()),
            Some(Demand::Credential(scope, subject)) => (scope, subject),
            None => return Err(Refusal::new(Reason::NoSuchMethod, NO_SUCH_METHOD)),
        };
        let caller = self.authenticator.admit(request.headers(), scope, subject).await?;
        self.tenants.admit(&caller.tenant)?;
        request.extensions_mut().insert::<Arc<Caller>>(caller);
        Ok(())
    }
}

/// What the caller of a method hears that is none.
const NO_SUCH_METHOD: &str = "this server has no such method; reflection lists those it has";

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, rules: self.clone() }
    }
}

/// See [`AuthLayer`].
#[derive(Clone)]
pub(in crate::service) struct Auth<S> {
    inner: S,
    rules: AuthLayer,
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Whether there is a place for the call is asked once it is known who calls: a stranger takes none.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (inner, rules) = (self.inner.clone(), self.rules.clone());
        Box::pin(async move {
            match rules.admit(&mut request).await {
                Ok(()) => inner.oneshot(request).await,
                Err(refusal) => Ok(Status::from(refusal).into_http()),
            }
        })
    }
}
