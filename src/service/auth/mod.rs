//! Who calls, and what they may do.
//!
//! A credential becomes a [`Caller`] here, once, for both edges; the tenant comes from it and from nowhere else. What is
//! decided: whether the credential holds, whether it has the scope of the method, and whether it may speak for the
//! person whom the request names. Nothing about the person is.

mod layer;
mod methods;
mod tokens;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tonic::{Request, Status};

pub(super) use layer::AuthLayer;
pub(super) use methods::Subject;
pub use tokens::{KeySource, TokenConfig, TokenError, Tokens};

use super::error::Refusal;
use super::proto;
use super::reason::Reason;
use crate::domain::{ApiKey, Caller, Invalid, Scope, TenantId};
use crate::engine::Engine;

/// Whom a server answers.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Anybody who reaches it, as the default tenant: for a loopback address.
    #[default]
    Open,
    /// Callers with an API key; with `tokens`, those with a token, too.
    Credentials {
        /// How tokens are checked.
        tokens: Option<Arc<Tokens>>,
    },
}

/// Turns credentials into callers.
#[derive(Clone)]
pub(super) struct Authenticator {
    engine: Engine,
    access: Access,
    anybody: Arc<Caller>,
}

impl Authenticator {
    pub(super) fn new(engine: Engine, access: Access) -> Self {
        Self { engine, access, anybody: Arc::new(Caller::anybody()) }
    }

    /// Who calls, if their credential is good for the call.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        subject: Subject,
    ) -> Result<Arc<Caller>, Refusal> {
        let caller = self.caller(headers).await?;
        if !caller.scopes.contains(scope) {
            let needed = scope.as_str();
            let told = format!("scope: got {}; allowed: a credential with {needed}", names(&caller));
            let metadata = Some(("scope", needed));
            return Err(Refusal { metadata, ..Refusal::new(Reason::ScopeMissing, told) });
        }
        if caller.user.is_some() && subject == Subject::Tenant {
            let told = "the token is bound to one person, and this call is about nobody in particular; use an API key";
            return Err(Refusal::new(Reason::UserBound, told));
        }
        Ok(caller)
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let Access::Credentials { tokens } = &self.access else { return Ok(self.anybody.clone()) };
        let Some(given) = headers.get(AUTHORIZATION) else {
            let told = "authorization: got nothing; allowed: Bearer and an API key (`pref keys create`)";
            return Err(Refusal::new(Reason::CredentialMissing, told));
        };
        // What was given is never repeated: it may be a key.
        let bearer = given.to_str().ok().and_then(bearer).ok_or_else(|| {
            let told = "authorization: got something else; allowed: Bearer and an API key or a token";
            Refusal::new(Reason::CredentialMalformed, told)
        })?;
        match (ApiKey::parse(bearer), tokens) {
            (Ok(key), _) => Ok(self.engine.authenticate(&key).await?),
            (Err(_), Some(tokens)) if !bearer.starts_with("pref_") => {
                tokens.caller(bearer).await.map(Arc::new)
            }
            (Err(invalid), _) => {
                Err(Refusal::new(Reason::CredentialMalformed, invalid.within("authorization").to_string()))
            }
        }
    }
}

/// The credential behind `Bearer`, in whatever case (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credential) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

fn names(caller: &Caller) -> String {
    let names = caller.scopes.to_string();
    if names.is_empty() { "none".to_owned() } else { names }
}

/// A request that names the person whom it is about.
pub(super) trait AboutPerson {
    /// The name, as given.
    fn user_id(&mut self) -> &mut String;
}

macro_rules! about_person {
    ($($request:ident),* $(,)?) => { $(
        impl AboutPerson for proto::$request {
            fn user_id(&mut self) -> &mut String {
                &mut self.user_id
            }
        }
    )* };
}
about_person!(
    NextQueryRequest,
    SubmitPreferenceRequest,
    GenerateRequest,
    ScoreRequest,
    GetUserRequest,
    DeleteUserRequest,
    ExportUserRequest,
    ListPreferencesRequest,
    DeletePreferenceRequest,
);

/// Whose data a call about nobody in particular works on.
pub(super) fn tenant_of<T>(request: &Request<T>) -> Result<TenantId, Status> {
    Ok(caller_of(request)?.tenant.clone())
}

/// Whose data a call about a person works on, who must be the one that the credential is bound to, if it is.
pub(super) fn tenant_about<T: AboutPerson>(request: &mut Request<T>) -> Result<TenantId, Status> {
    let caller = caller_of(request)?.clone();
    bind(&caller, request.get_mut().user_id(), "user_id")?;
    Ok(caller.tenant.clone())
}

/// Holds a call to the person whom the credential is bound to; where the call names nobody, it is that one. `field` is where the
/// edge takes the name from.
pub(super) fn bind(caller: &Caller, user_id: &mut String, field: &str) -> Result<(), Refusal> {
    match &caller.user {
        Some(bound) if user_id.is_empty() => bound.as_str().clone_into(user_id),
        Some(bound) if user_id != bound.as_str() => {
            let allowed = "the one that the token is bound to, or nothing";
            let told = Invalid::new(field, "another person", allowed).to_string();
            return Err(Refusal::new(Reason::UserMismatch, told));
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// Left by [`AuthLayer`], without which no handler answers.
fn caller_of<T>(request: &Request<T>) -> Result<&Arc<Caller>, Status> {
    request.extensions().get::<Arc<Caller>>().ok_or_else(|| {
        Refusal::new(Reason::CredentialMissing, "authorization: got nothing; allowed: a credential").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    #[test]
    fn a_bearer_is_a_scheme_and_a_credential() {
        assert_eq!(bearer("Bearer pref_1"), Some("pref_1"));
        assert_eq!(bearer("bearer  pref_1 "), Some("pref_1"));
        assert_eq!(bearer("Basic pref_1"), None);
        assert_eq!(bearer("pref_1"), None);
    }

    #[test]
    fn a_bound_caller_speaks_for_one_person() {
        let free = Caller::anybody();
        let bound = Caller { user: Some(UserId::parse("ada").unwrap()), ..Caller::anybody() };
        let bind = |caller: &Caller, name: &str| {
            let mut name = name.to_owned();
            bind(caller, &mut name, "user_id").map(|()| name).map_err(|refusal| refusal.reason)
        };
        assert_eq!(bind(&free, "bob"), Ok("bob".to_owned()));
        assert_eq!(bind(&free, ""), Ok(String::new()));
        assert_eq!(bind(&bound, "ada"), Ok("ada".to_owned()));
        assert_eq!(bind(&bound, ""), Ok("ada".to_owned()));
        assert_eq!(bind(&bound, "bob"), Err(Reason::UserMismatch));
        assert_eq!(bind(&bound, "ada "), Err(Reason::UserMismatch));
    }

    #[test]
    fn a_handler_that_nobody_was_let_in_to_refuses() {
        let status = tenant_of(&Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }
}
