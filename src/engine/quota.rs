use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Engine, EngineError};
use crate::domain::TenantId;
use crate::store::UnixMillis;

/// How long a count of people holds, in milliseconds.
const COUNT_HOLDS: UnixMillis = 60_000;

/// How many people each tenant had when they were last counted, and how many may have come since.
#[derive(Default)]
pub(super) struct Headcounts {
    counted: Mutex<HashMap<TenantId, Headcount>>,
}

#[derive(Clone, Copy)]
struct Headcount {
    people: u64,
    counted: UnixMillis,
}

impl Engine {
    /// Whether the tenant may have one person more. They are counted at most once a minute, and only while people come;
    /// in between this server adds up its own, so that with several servers the bound is passed by what the others let
    /// in within that minute.
    pub(super) async fn admit_user(&self, tenant: &TenantId) -> Result<(), EngineError> {
        let allowed = self.config().tenant_users;
        let now = self.now();
        let known = {
            let counts = self.shared.headcounts.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counts.get(tenant).copied().filter(|count| now.saturating_sub(count.counted) < COUNT_HOLDS)
        };
        let known = match known {
            Some(count) => count,
            None => Headcount { people: self.store().count_users(tenant, allowed).await?, counted: now },
        };
        let admitted = known.people < allowed;
        let people = known.people + u64::from(admitted);
        let mut counts = self.shared.headcounts.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert(tenant.clone(), Headcount { people, ..known });
        if admitted { Ok(()) } else { Err(EngineError::TooManyUsers(allowed)) }
    }
}
