use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What the threads of resident models count and time, by model version. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    queue_depth: Family<Labels, Gauge>,
    queue_wait: Family<Labels, Histogram>,
    batch_texts: Family<Labels, Histogram>,
    batch_tokens: Family<Labels, Histogram>,
    batch_time: Family<Labels, Histogram>,
    cache_hits: Family<Labels, Counter>,
    cut_texts: Family<Labels, Counter>,
    dropped_requests: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    model_version: String,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        // From 0.1 ms to 15 s, and from 1 to 32 768.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-4, 2.5, 14));
        let counts: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 16));
        Self {
            queue_depth: Family::default(),
            queue_wait: Family::new_with_constructor(seconds),
            batch_texts: Family::new_with_constructor(counts),
            batch_tokens: Family::new_with_constructor(counts),
            batch_time: Family::new_with_constructor(seconds),
            cache_hits: Family::default(),
            cut_texts: Family::default(),
            dropped_requests: Family::default(),
        }
    }
}

impl ModelMetrics {
    /// Makes them part of what `registry` shows, under names that begin with `pref_model`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pref_model");
        let seconds = Unit::Seconds;
        registry.register("queue_depth", "Requests that wait for the model", self.queue_depth.clone());
        let help = "From a request's arrival to the beginning of its batch";
        registry.register_with_unit("queue_wait", help, seconds.clone(), self.queue_wait.clone());
        registry.register("batch_texts", "Texts of a batch that were embedded", self.batch_texts.clone());
        registry.register("batch_tokens", "Tokens of a batch that were read", self.batch_tokens.clone());
        registry.register_with_unit("batch_time", "How long a batch took", seconds, self.batch_time.clone());
        registry.register("cache_hits", "Texts whose features were remembered", self.cache_hits.clone());
        let help = "Texts of requests in which one was too long and had to be cut";
        registry.register("cut_texts", help, self.cut_texts.clone());
        let help = "Requests whose caller had gone before their turn";
        registry.register("dropped_requests", help, self.dropped_requests.clone());
    }

    pub(super) fn of(&self, model_version: &str) -> Meters {
        let labels = Labels { model_version: model_version.to_owned() };
        Meters {
            queue_depth: self.queue_depth.get_or_create_owned(&labels),
            queue_wait: self.queue_wait.get_or_create_owned(&labels),
            batch_texts: self.batch_texts.get_or_create_owned(&labels),
            batch_tokens: self.batch_tokens.get_or_create_owned(&labels),
            batch_time: self.batch_time.get_or_create_owned(&labels),
            cache_hits: self.cache_hits.get_or_create_owned(&labels),
            cut_texts: self.cut_texts.get_or_create_owned(&labels),
            dropped_requests: self.dropped_requests.get_or_create_owned(&labels),
        }
    }
}

/// The metrics of one model.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    pub(super) queue_depth: Gauge,
    pub(super) queue_wait: Histogram,
    pub(super) batch_texts: Histogram,
    pub(super) batch_tokens: Histogram,
    pub(super) batch_time: Histogram,
    pub(super) cache_hits: Counter,
    pub(super) cut_texts: Counter,
    pub(super) dropped_requests: Counter,
}
