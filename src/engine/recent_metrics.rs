use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Who is remembered between calls, and how often what is remembered was right. Clones are the same metrics.
#[derive(Debug, Clone, Default)]
pub struct RecentMetrics {
    people: Gauge,
    guesses: Family<Found, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    found: &'static str,
}

impl Found {
    fn of(is_right: bool) -> Self {
        Self { found: if is_right { "right" } else { "wrong" } }
    }
}

impl RecentMetrics {
    /// Makes them part of what `registry` shows, under names that begin with `pref_recent`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pref_recent");
        registry.register("people", "People who are remembered between calls", self.people.clone());
        let help = "What was remembered of a person, by whether it was as the database had it";
        registry.register("guesses", help, self.guesses.clone());
    }

    /// People who are remembered now.
    pub fn remembered(&self) -> i64 {
        self.people.get()
    }

    /// How often what was remembered was right, or wrong.
    pub fn guesses(&self, are_right: bool) -> u64 {
        self.guesses.get_or_create(&Found::of(are_right)).get()
    }

    pub(super) fn set_remembered(&self, people: usize) {
        self.people.set(i64::try_from(people).unwrap_or(i64::MAX));
    }

    pub(super) fn found(&self, is_right: bool) {
        self.guesses.get_or_create(&Found::of(is_right)).inc();
    }
}
