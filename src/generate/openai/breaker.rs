use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Leaves an upstream alone that has failed several times in a row, for a while; then one call tries it again, and the
/// others are let through once that has succeeded.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failed: u32,
    /// Nobody calls before this.
    until: Option<Instant>,
}

impl CircuitBreaker {
    /// Opens after so many failures in a row, for so long.
    pub(super) fn new(failures: u32, pause: Duration) -> Self {
        Self { failures: failures.max(1), pause, state: Mutex::default() }
    }

    /// Whether a call may be made now; else how long to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if now < until => Err(until - now),
            // This call tries for all; whoever comes while it does waits as long again.
            Some(_) => {
                state.until = Some(now + self.pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed = state.failed.saturating_add(1);
        if state.failed >= self.failures {
            state.until = Some(now + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_call_try() {
        let breaker = CircuitBreaker::new(3, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        breaker.failed(start);
        breaker.failed(start);
        breaker.succeeded();
        breaker.failed(start);
        breaker.failed(start);
        assert_eq!(breaker.admit(start), Ok(()));
        breaker.failed(start);
        assert_eq!(breaker.admit(start), Err(Duration::from_secs(10)));
        assert_eq!(breaker.admit(at(4)), Err(Duration::from_secs(6)));
        assert_eq!(breaker.admit(at(10)), Ok(()));
        assert_eq!(breaker.admit(at(10)), Err(Duration::from_secs(10)), "one at a time");
        breaker.failed(at(11));
        assert_eq!(breaker.admit(at(20)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(21)), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(at(21)), Ok(()));
        assert_eq!(breaker.admit(at(21)), Ok(()));
    }
}
