use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nalgebra::DVector;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::feature_cache::FeatureCache;
use super::metrics::{Meters, ModelMetrics};
use super::{Manifest, ModelError, RewardModel, Text};
use crate::domain::ContentHash;

/// A reward model on a thread of its own, behind a bounded queue. Clones are handles to the same thread.
///
/// Requests that wait are embedded together, up to [`ResidentConfig`]'s budget; a request whose caller has gone is
/// dropped; a panic is the answer to the request that caused it, and the thread goes on. φ of a text that was seen
/// before comes from a cache without passing the queue.
#[derive(Clone)]
pub struct ResidentModel {
    shared: Arc<Shared>,
}

/// Bounds of a resident model.
#[derive(Debug, Clone)]
pub struct ResidentConfig {
    /// Requests that may wait; the next one is refused.
    pub queue: usize,
    /// Texts of a batch: no further request joins beyond it.
    pub batch_texts: usize,
    /// Bytes of a batch's texts: no further request joins beyond it. (Tokens are not known before tokenizing; a
    /// token is at least a byte.)
    pub batch_bytes: usize,
    /// φ's to remember.
    pub cache_entries: usize,
    /// Where it is counted what the thread does.
    pub metrics: ModelMetrics,
}

impl Default for ResidentConfig {
    fn default() -> Self {
        Self {
            queue: 256,
            batch_texts: 256,
            batch_bytes: 256 * 1024,
            cache_entries: 65_536,
            metrics: ModelMetrics::default(),
        }
    }
}

struct Shared {
    model: Arc<RewardModel>,
    cache: Arc<Mutex<FeatureCache>>,
    queue: usize,
    /// Nothing once the model has been shut down.
    sender: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    meters: Meters,
}

/// The texts of one call, and where its answer goes.
struct Request {
    texts: Vec<(String, String)>,
    reply: oneshot::Sender<Result<Vec<DVector<f64>>, ModelError>>,
    span: Span,
    queued: Instant,
}

impl ResidentModel {
    /// Starts the thread and warms the model up there, which blocks until it has answered once; a model that cannot
    /// answer is an error here rather than at the first request.
    pub fn start(model: Arc<RewardModel>, config: &ResidentConfig) -> Result<Self, ModelError> {
        let cache = Arc::new(Mutex::new(FeatureCache::new(config.cache_entries)));
        let (sender, receiver) = mpsc::channel(config.queue.max(1));
        let (ready, warm) = std::sync::mpsc::channel();
        let meters = config.metrics.of(&model.manifest().version);
        let worker = Worker {
            model: model.clone(),
            cache: cache.clone(),
            config: config.clone(),
            meters: meters.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("model {}", model.manifest().version))
            .spawn(move || worker.run(receiver, &ready))
            .map_err(|error| ModelError::Panicked(format!("its thread cannot be started: {error}")))?;
        warm.recv().unwrap_or(Err(ModelError::Stopped))?;
        Ok(Self {
            shared: Arc::new(Shared {
                model,
                cache,
                queue: config.queue.max(1),
                sender: Mutex::new(Some(sender)),
                thread: Mutex::new(Some(thread)),
                meters,
            }),
        })
    }

    /// φ for each (prompt, response), in order. The candidates of one prompt belong in one call.
    ///
    /// Never waits for a place in the queue: [`ModelError::QueueFull`] is the answer when there is none.
    pub async fn features(&self, texts: Vec<(String, String)>) -> Result<Vec<DVector<f64>>, ModelError> {
        let keys = content_hashes(&texts);
        if let Some(features) = lock(&self.shared.cache).get_all(&keys) {
            self.shared.meters.cache_hits.inc_by(features.len() as u64);
            return Ok(features);
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { texts, reply, span: Span::current(), queued: Instant::now() };
        match &*lock(&self.shared.sender) {
            None => return Err(ModelError::Stopped),
            Some(sender) => sender.try_send(request).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ModelError::QueueFull { capacity: self.shared.queue },
                mpsc::error::TrySendError::Closed(_) => ModelError::Stopped,
            })?,
        }
        self.shared.meters.queue_depth.set(self.queue_depth() as i64);
        answer.await.unwrap_or(Err(ModelError::Stopped))
    }

    /// The model itself, for work that may block (training, evaluation, another head on the same backbone).
    pub fn model(&self) -> &Arc<RewardModel> {
        &self.shared.model
    }

    /// What training said of the model.
    pub fn manifest(&self) -> &Manifest {
        self.shared.model.manifest()
    }

    /// Requests that wait now.
    pub fn queue_depth(&self) -> usize {
        lock(&self.shared.sender).as_ref().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    /// Answers what is queued, takes nothing more, and waits for the thread to end. A second call returns at once.
    pub async fn shutdown(&self) {
        lock(&self.shared.sender).take();
        let thread = lock(&self.shared.thread).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(
                    model.version = self.manifest().version,
                    "the model thread did not end cleanly"
                );
            }
        }
    }
}

struct Worker {
    model: Arc<RewardModel>,
    cache: Arc<Mutex<FeatureCache>>,
    config: ResidentConfig,
    meters: Meters,
}

impl Worker {
    fn run(
        self,
        mut receiver: mpsc::Receiver<Request>,
        ready: &std::sync::mpsc::Sender<Result<(), ModelError>>,
    ) {
        let warm =
            guarded(|| self.model.features(&[Text::new("Hello", "Hi!"), Text::new("Hello", "")]).map(drop));
        let failed = warm.is_err();
        if ready.send(warm).is_err() || failed {
            return;
        }
        while let Some(first) = receiver.blocking_recv() {
            let batch = self.gather(first, &mut receiver);
            if !batch.is_empty() {
                self.answer(batch, receiver.len());
            }
        }
    }

    /// `first` and whatever else waits, up to the budget, without the requests whose caller has gone.
    fn gather(&self, first: Request, receiver: &mut mpsc::Receiver<Request>) -> Vec<Request> {
        let (mut texts, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            if !request.reply.is_closed() {
                texts += request.texts.len();
                bytes += request
                    .texts
                    .iter()
                    .map(|(prompt, response)| prompt.len() + response.len())
                    .sum::<usize>();
                batch.push(request);
            } else {
                self.meters.dropped_requests.inc();
            }
            let full = texts >= self.config.batch_texts || bytes >= self.config.batch_bytes;
            next = if full { None } else { receiver.try_recv().ok() };
        }
        batch
    }

    /// All requests together; where that fails, one by one, so that each hears of its own failure only.
    fn answer(&self, batch: Vec<Request>, waiting: usize) {
        let started = Instant::now();
        self.meters.queue_depth.set(waiting as i64);
        for request in &batch {
            self.meters.queue_wait.observe((started - request.queued).as_secs_f64());
        }
        let span = tracing::debug_span!("model.batch", batch.requests = batch.len(), queue.depth = waiting);
        for request in &batch {
            span.follows_from(&request.span);
        }
        let _entered = span.enter();
        let together = guarded(|| self.features(&batch));
        let texts: usize = batch.iter().map(|request| request.texts.len()).sum();
        let answers: Vec<_> = match together {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if batch.len() == 1 => vec![Err(error)],
            Err(_) => batch
                .iter()
                .map(|request| {
                    guarded(|| self.features(std::slice::from_ref(request))).map(|mut one| one.remove(0))
                })
                .collect(),
        };
        let duration = started.elapsed();
        self.meters.batch_time.observe(duration.as_secs_f64());
        let duration_ms = duration.as_secs_f64() * 1e3;
        tracing::debug!(batch.texts = texts, duration_ms, "embedded a batch");
        for (request, answer) in batch.into_iter().zip(answers) {
            let waited_ms = (started - request.queued).as_secs_f64() * 1e3;
            request
                .span
                .in_scope(|| tracing::debug!(queue.waited_ms = waited_ms, duration_ms, "features are ready"));
            // A caller that has left in the meantime does not want it any more.
            let _ = request.reply.send(answer);
        }
    }

    /// φ of each request's texts. Requests that fit the backbone share one batch and the cache; the others, whose
    /// embeddings depend on the request that they came in, are embedded by themselves.
    fn features(&self, requests: &[Request]) -> Result<Vec<Vec<DVector<f64>>>, ModelError> {
        let mut answers: Vec<Option<Vec<DVector<f64>>>> = Vec::with_capacity(requests.len());
        let mut known: HashMap<ContentHash, DVector<f64>> = HashMap::new();
        let mut missing: Vec<(ContentHash, Text<'_>)> = Vec::new();
        let mut seen = HashSet::new();
        for request in requests {
            let texts: Vec<_> =
                request.texts.iter().map(|(prompt, response)| Text::new(prompt, response)).collect();
            if !self.model.backbone().fits(&texts)? {
                self.meters.cut_texts.inc_by(texts.len() as u64);
                answers.push(Some(self.embed(&texts)?));
                continue;
            }
            answers.push(None);
            let mut cache = lock(&self.cache);
            for (key, text) in content_hashes(&request.texts).into_iter().zip(texts) {
                if seen.insert(key) {
                    match cache.get(&key) {
                        Some(phi) => {
                            self.meters.cache_hits.inc();
                            known.insert(key, phi);
                        }
                        None => missing.push((key, text)),
                    }
                }
            }
        }
        let texts: Vec<_> = missing.iter().map(|(_, text)| *text).collect();
        let fresh = self.embed(&texts)?;
        let mut cache = lock(&self.cache);
        for ((key, _), phi) in missing.into_iter().zip(fresh) {
            cache.insert(key, phi.clone());
            known.insert(key, phi);
        }
        drop(cache);
        let of =
            |request: &Request| content_hashes(&request.texts).iter().map(|key| known[key].clone()).collect();
        Ok(answers
            .into_iter()
            .zip(requests)
            .map(|(answer, request)| answer.unwrap_or_else(|| of(request)))
            .collect())
    }

    /// φ of texts that nobody remembers.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<DVector<f64>>, ModelError> {
        let embeddings = self.model.embed(texts)?;
        let tokens: usize = embeddings.iter().map(|embedding| embedding.tokens).sum();
        self.meters.batch_texts.observe(texts.len() as f64);
        self.meters.batch_tokens.observe(tokens as f64);
        self.model.features_of_embeddings(&embeddings)
    }
}

fn content_hashes(texts: &[(String, String)]) -> Vec<ContentHash> {
    texts.iter().map(|(prompt, response)| ContentHash::new(prompt, response)).collect()
}

/// A panic as an error. What `work` touches is read only, or (the cache) valid between any two of its statements.
fn guarded<T>(work: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(ModelError::Panicked(words_of(&*panic))))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("panic without words").to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
