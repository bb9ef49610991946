use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Refusal;
use super::reason::Reason;
use crate::domain::TenantId;

/// What one tenant may ask of one server, so that the others have their share. Clones count together.
#[derive(Debug, Clone)]
pub struct TenantLimits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Calls in a second; 0: any number.
    requests_per_second: u32,
    /// Completions under way; 0: any number.
    pending_generations: usize,
    /// By tenant; tenants come from credentials, so that nobody makes this grow who has none.
    tenants: Mutex<HashMap<TenantId, Tenant>>,
}

#[derive(Debug)]
struct Tenant {
    /// Calls that it has left.
    tokens: f64,
    /// When that was counted.
    counted: Instant,
    generations: Arc<Semaphore>,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self::new(10_000, 256)
    }
}

impl TenantLimits {
    /// At most `requests_per_second` calls, of which a tenant that has been quiet may make two seconds' worth at once, and
    /// `pending_generations` completions under way; 0 of either: any number.
    pub fn new(requests_per_second: u32, pending_generations: usize) -> Self {
        let tenants = Mutex::default();
        Self { shared: Arc::new(Shared { requests_per_second, pending_generations, tenants }) }
    }

    /// Takes one call off what the tenant has left.
    pub(super) fn admit(&self, tenant: &TenantId) -> Result<(), Refusal> {
        if self.shared.requests_per_second == 0 {
            return Ok(());
        }
        let now = Instant::now();
        self.of(tenant, now, |limits, tenant| limits.take(tenant, now)).map_err(|delay| {
            let allowed = self.shared.requests_per_second;
            let told = format!("this tenant makes more than {allowed} calls a second; slow down");
            Refusal { delay: Some(delay), ..Refusal::new(Reason::RateLimited, told) }
        })
    }

    /// A place for one completion, kept until it is dropped.
    pub(super) fn generation(&self, tenant: &TenantId) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if self.shared.pending_generations == 0 {
            return Ok(None);
        }
        let places = self.of(tenant, Instant::now(), |_, tenant| tenant.generations.clone());
        places.try_acquire_owned().map(Some).map_err(|_| {
            let allowed = self.shared.pending_generations;
            let told = format!(
                "this tenant has {allowed} completions under way, as many as it may; try again shortly"
            );
            Refusal::new(Reason::TooManyGenerations, told)
        })
    }

    fn of<R>(&self, tenant: &TenantId, now: Instant, then: impl FnOnce(&Shared, &mut Tenant) -> R) -> R {
        let mut tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get_mut(tenant) {
            return then(&self.shared, known);
        }
        let fresh = Tenant {
            tokens: self.shared.burst(),
            counted: now,
            generations: Arc::new(Semaphore::new(
                self.shared.pending_generations.min(Semaphore::MAX_PERMITS),
            )),
        };
        then(&self.shared, tenants.entry(tenant.clone()).or_insert(fresh))
    }
}

impl Shared {
    fn burst(&self) -> f64 {
        2.0 * f64::from(self.requests_per_second)
    }

    /// A token bucket; an empty one says when the next token comes.
    fn take(&self, tenant: &mut Tenant, now: Instant) -> Result<(), Duration> {
        let rate = f64::from(self.requests_per_second);
        let gained = rate * now.saturating_duration_since(tenant.counted).as_secs_f64();
        tenant.tokens = (tenant.tokens + gained).min(self.burst());
        tenant.counted = now.max(tenant.counted);
        if tenant.tokens >= 1.0 {
            tenant.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - tenant.tokens) / rate).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_says_when_the_next_call_may_come() {
        let limits = TenantLimits::new(4, 0);
        let begin = Instant::now();
        let name = TenantId::default_tenant();
        let take = |at: Duration| limits.of(&name, begin, |shared, tenant| shared.take(tenant, begin + at));
        for _ in 0..8 {
            assert_eq!(take(Duration::ZERO), Ok(()));
        }
        assert_eq!(take(Duration::ZERO), Err(Duration::from_millis(250)));
        assert_eq!(take(Duration::from_millis(250)), Ok(()));
        assert!(take(Duration::from_millis(250)).is_err());
        // A clock that goes back gives nothing.
        assert!(take(Duration::ZERO).is_err());
        // However long it was quiet, two seconds' worth is the most.
        let full = (0..20).filter(|_| take(Duration::from_secs(3600)).is_ok()).count();
        assert_eq!(full, 8);
    }

    #[test]
    fn tenants_have_a_share_each_and_places_come_back() {
        let limits = TenantLimits::new(1, 1);
        let (ada, bob) = (TenantId::parse("ada").unwrap(), TenantId::parse("bob").unwrap());
        let place = limits.generation(&ada).unwrap();
        assert_eq!(limits.generation(&ada).unwrap_err().reason, Reason::TooManyGenerations);
        assert!(limits.generation(&bob).is_ok());
        drop(place);
        assert!(limits.generation(&ada).is_ok());
        let refused = (0..3).find_map(|_| limits.admit(&ada).err()).unwrap();
        assert!(refused.reason == Reason::RateLimited && refused.delay.is_some());
        assert!(limits.admit(&bob).is_ok());
    }
}
