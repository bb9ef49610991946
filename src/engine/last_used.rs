use std::sync::atomic::{AtomicU64, Ordering};

/// Counts uses, so that what was used longest ago can be told.
#[derive(Debug, Default)]
pub(super) struct Uses(AtomicU64);

/// Which of all uses was the last of this one.
#[derive(Debug)]
pub(super) struct LastUsed(AtomicU64);

impl Uses {
    /// Something that is used now.
    pub(super) fn first(&self) -> LastUsed {
        LastUsed(AtomicU64::new(self.next()))
    }

    /// Uses it once more.
    pub(super) fn again(&self, used: &LastUsed) {
        used.0.store(self.next(), Ordering::Relaxed);
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl LastUsed {
    /// Less than of whatever was used later.
    pub(super) fn when(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
