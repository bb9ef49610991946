use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Invalid;

/// Longest name of a tenant, user, pool, dataset or model version, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            #[doc = concat!("Takes 1 to ", stringify!(MAX_NAME_BYTES), " bytes without control characters.")]
            pub fn parse(name: impl Into<String>) -> Result<Self, Invalid> {
                parse_name($field, name.into()).map(Self)
            }

            /// The name as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = Invalid;

            fn from_str(name: &str) -> Result<Self, Invalid> {
                Self::parse(name)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// Who the data belongs to; comes from the credential, never from the request.
    TenantId, "tenant"
);
name!(
    /// A person, as the tenant names them.
    UserId, "user_id"
);
name!(
    /// A named set of prompts with candidate responses.
    PoolName, "pool"
);
name!(
    /// A named set of imported preferences.
    DatasetId, "dataset_id"
);
name!(
    /// A trained reward model; also the folder of its artifact.
    ModelVersion, "model_version"
);

impl TenantId {
    /// The tenant of a server without authentication.
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl $type {
            /// Takes a UUID in any of its usual spellings.
            pub fn parse(id: &str) -> Result<Self, Invalid> {
                Uuid::try_parse(id).map(Self).map_err(|_| Invalid::new($field, format!("{id:?}"), "a UUID"))
            }

            /// A fresh random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A question put to a user.
    QueryId, "query_id"
);
id!(
    /// One line of the preference log.
    PreferenceId, "preference_id"
);
id!(
    /// The caller's key for one mutation: a repeat with the same id returns the first reply.
    RequestId, "request_id"
);
id!(
    /// A training job.
    JobId, "job_id"
);

/// What a chat completion was answered under, `chatcmpl-` and 32 hexadecimal digits, as OpenAI's ids look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompletionId(pub Uuid);

impl CompletionId {
    const PREFIX: &str = "chatcmpl-";

    /// Takes an id as it was given out.
    pub fn parse(id: &str) -> Result<Self, Invalid> {
        let uuid = id.strip_prefix(Self::PREFIX).and_then(|uuid| Uuid::try_parse(uuid).ok());
        let allowed = "the id of a chat completion, chatcmpl-…";
        uuid.map(Self).ok_or_else(|| Invalid::new("id", format!("{id:?}"), allowed))
    }

    /// A fresh random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for CompletionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0.simple())
    }
}

impl Serialize for CompletionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PreferenceId {
    /// The permanent id of the preference that `request` submitted: UUIDv5 over (tenant, user, request), so that a
    /// retry on any replica, at any time, names the same line of the log.
    pub fn of_request(tenant: &TenantId, user: &UserId, request: RequestId) -> Self {
        let name = format!("{}\n{tenant}\n{user}\n{request}", tenant.as_str().len());
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
    }
}

fn parse_name(field: &str, name: String) -> Result<String, Invalid> {
    let allowed = || format!("1 to {MAX_NAME_BYTES} bytes without control characters");
    if name.trim().is_empty() {
        return Err(Invalid::new(field, format!("{name:?}"), allowed()));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Invalid::new(field, format!("{} bytes", name.len()), allowed()));
    }
    if name.chars().any(char::is_control) {
        return Err(Invalid::new(field, format!("{name:?}"), allowed()));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_non_empty_short_and_printable() {
        assert_eq!(UserId::parse("ada").unwrap().as_str(), "ada");
        for bad in ["", "  ", "a\nb", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert_eq!(UserId::parse(bad).unwrap_err().field, "user_id", "{bad:?}");
        }
    }

    #[test]
    fn a_completion_id_is_read_as_it_was_given_out() {
        let id = CompletionId::random();
        assert_eq!(CompletionId::parse(&id.to_string()), Ok(id));
        for bad in ["", "chatcmpl-", "chatcmpl-7", &id.0.to_string()] {
            assert_eq!(CompletionId::parse(bad).unwrap_err().field, "id", "{bad:?}");
        }
    }

    #[test]
    fn preference_id_depends_on_tenant_user_and_request() {
        let (t, u, r) = (TenantId::default_tenant(), UserId::parse("ada").unwrap(), RequestId::random());
        let id = PreferenceId::of_request(&t, &u, r);
        assert_eq!(id, PreferenceId::of_request(&t, &u, r));
        assert_ne!(id, PreferenceId::of_request(&t, &UserId::parse("bob").unwrap(), r));
        assert_ne!(id, PreferenceId::of_request(&TenantId::parse("other").unwrap(), &u, r));
        assert_ne!(id, PreferenceId::of_request(&t, &u, RequestId::random()));
    }
}
