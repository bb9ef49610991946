//! Group commit: what several callers want of Postgres goes there together.
//!
//! A call that finds nothing under way goes at once, alone. Those that come meanwhile gather, and go together as soon as
//! the exchange comes back, or is late. So nobody waits for company, and the busier the server, the more callers share what
//! an exchange costs: the messages, the wakings of both sides, and the disk's answer to a commit.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{StoreError, database_time};

/// An exchange that takes longer is not waited for: a long log, a disk that stalls, a connection that has gone silent.
const LATE: Duration = Duration::from_millis(20);
/// Exchanges under way at once, of which all but one are late.
const EXCHANGES: usize = 4;
/// Most calls that share an exchange.
const MOST: usize = 64;

/// What is done for many at once.
pub(super) trait Exchange: Send + Sync + 'static {
    /// What a caller brings.
    type Job: Send + 'static;
    /// What they take back.
    type Done: Send + 'static;

    /// One answer a job, in their order; nothing for a job that has to be done by itself.
    ///
    /// # Errors
    /// That the database is away is told to everybody; after any other error each job is done by itself.
    fn run(
        &self,
        jobs: Vec<Self::Job>,
    ) -> impl Future<Output = Result<Vec<Option<Self::Done>>, StoreError>> + Send;
}

/// Gathers jobs.
pub(super) struct Batcher<E: Exchange> {
    shared: Arc<Shared<E>>,
}

struct Shared<E: Exchange> {
    exchange: E,
    /// How long a job waits to set out.
    patience: Duration,
    gathered: Mutex<Gathered<E>>,
}

struct Gathered<E: Exchange> {
    waiting: Vec<Waiting<E>>,
    /// When each exchange set out, by its number.
    under_way: BTreeMap<u64, Instant>,
    /// The number of the next.
    next: u64,
}

struct Waiting<E: Exchange> {
    job: E::Job,
    since: Instant,
    caller: oneshot::Sender<Told<E::Done>>,
}

/// How a job ended, and how much of the time since it set out was not the database's.
struct Told<T> {
    answer: Result<Option<T>, StoreError>,
    own_time: Duration,
}

impl<E: Exchange> Batcher<E> {
    /// Jobs wait no longer than `patience` to set out, which is long only where the database does not answer.
    pub(super) fn new(exchange: E, patience: Duration) -> Self {
        let gathered = Gathered { waiting: Vec::new(), under_way: BTreeMap::new(), next: 0 };
        Self { shared: Arc::new(Shared { exchange, patience, gathered: Mutex::new(gathered) }) }
    }

    /// Does `job` together with others; nothing where it has to be done by itself. A caller who goes away before it has set out
    /// takes it with them; afterwards it is done to its end.
    pub(super) async fn call(&self, job: E::Job) -> Result<Option<E::Done>, StoreError> {
        let begun = Instant::now();
        let (caller, told) = oneshot::channel();
        self.shared.gathered().waiting.push(Waiting { job, since: begun, caller });
        self.shared.set_out();
        match told.await {
            Ok(Told { answer, own_time }) => {
                database_time::spent(begun.elapsed().saturating_sub(own_time));
                answer
            }
            // Nobody tells where the exchange panicked.
            Err(_) => Ok(None),
        }
    }
}

impl<E: Exchange> Shared<E> {
    fn gathered(&self) -> MutexGuard<'_, Gathered<E>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends those who wait on their way, unless an exchange is under way that is not late yet.
    fn set_out(self: &Arc<Self>) {
        let mut gathered = self.gathered();
        if gathered.under_way.len() == EXCHANGES {
            gathered.give_up(self.patience);
            return;
        }
        let is_awaited = gathered.under_way.values().any(|set_out| set_out.elapsed() <= LATE);
        if gathered.waiting.is_empty() || is_awaited {
            return;
        }
        let number = gathered.next;
        gathered.next += 1;
        gathered.under_way.insert(number, Instant::now());
        // A runtime that ends drops it here and now.
        drop(gathered);
        tokio::spawn(UnderWay { shared: self.clone(), number, has_begun: false }.run());
    }
}

impl<E: Exchange> Gathered<E> {
    /// Lets go of those who have gone, and of those who have waited for too long.
    fn give_up(&mut self, patience: Duration) {
        let is_over =
            |waiting: &mut Waiting<E>| waiting.caller.is_closed() || waiting.since.elapsed() > patience;
        for Waiting { caller, .. } in self.waiting.extract_if(.., is_over) {
            let _ =
                caller.send(Told { answer: Err(sqlx::Error::PoolTimedOut.into()), own_time: Duration::ZERO });
        }
    }
}

/// An exchange. When it is dropped, those who came meanwhile set out.
struct UnderWay<E: Exchange> {
    shared: Arc<Shared<E>>,
    number: u64,
    /// False where the runtime ends before it could.
    has_begun: bool,
}

impl<E: Exchange> UnderWay<E> {
    async fn run(mut self) {
        self.has_begun = true;
        let (jobs, callers): (Vec<_>, Vec<_>) = self.present();
        if jobs.is_empty() {
            return;
        }
        let begun = Instant::now();
        let (answers, waited) =
            self.answered(database_time::with_database_time(self.shared.exchange.run(jobs))).await;
        let own_time = begun.elapsed().saturating_sub(waited);
        let (answers, away) = match answers {
            Ok(answers) => (answers, None),
            Err(StoreError::Unavailable(cause)) if !is_of_the_statement(&cause) => (Vec::new(), Some(cause)),
            Err(error) => {
                tracing::debug!(%error, "calls that went together are done one by one");
                (Vec::new(), None)
            }
        };
        let mut answers = answers.into_iter();
        for caller in callers {
            let answer = match &away {
                Some(cause) => Err(StoreError::Unavailable(cause.clone())),
                None => Ok(answers.next().flatten()),
            };
            // Who has gone hears nothing.
            let _ = caller.send(Told { answer, own_time });
        }
    }

    /// Waits for an answer. Where it is late, those who came meanwhile set out.
    async fn answered<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            match timeout(LATE, &mut answer).await {
                Ok(answer) => return answer,
                Err(_late) => self.shared.set_out(),
            }
        }
    }

    /// Those who wait and are still there, no more than may go together.
    fn present<T: FromIterator<(E::Job, oneshot::Sender<Told<E::Done>>)>>(&self) -> T {
        let mut gathered = self.shared.gathered();
        let most = gathered.waiting.len().min(MOST);
        let waiting = gathered.waiting.drain(..most);
        let present = waiting.filter(|waiting| !waiting.caller.is_closed());
        present.map(|waiting| (waiting.job, waiting.caller)).collect()
    }
}

impl<E: Exchange> Drop for UnderWay<E> {
    fn drop(&mut self) {
        self.shared.gathered().under_way.remove(&self.number);
        if self.has_begun && Handle::try_current().is_ok() {
            self.shared.set_out();
        }
    }
}

/// Whether a job among several may have been what the database had no time for or no way to: 57014 a statement's timeout, 40001 and
/// 40P01 serialization and deadlock, 55P03 a lock not available.
fn is_of_the_statement(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(|cause| cause.code());
    code.is_some_and(|code| ["57014", "40001", "40P01", "55P03"].contains(&&*code))
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use futures::poll;
    use tokio::sync::Semaphore;

    use super::*;

    /// Doubles numbers, as soon as it gets a permit; keeps what went together.
    struct Doubling {
        permits: Arc<Semaphore>,
        went: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    /// What an exchange with this number among its jobs comes to.
    const ALONE: u32 = 1000;
    const AWAY: u32 = 1001;
    const REFUSED: u32 = 1002;
    const PANICS: u32 = 1003;

    impl Exchange for Doubling {
        type Job = u32;
        type Done = u32;

        async fn run(&self, jobs: Vec<u32>) -> Result<Vec<Option<u32>>, StoreError> {
            self.went.lock().unwrap().push(jobs.clone());
            self.permits.acquire().await.unwrap().forget();
            assert!(!jobs.contains(&PANICS), "as it was told to");
            match jobs.iter().find(|job| **job > ALONE) {
                Some(&AWAY) => Err(sqlx::Error::PoolTimedOut.into()),
                Some(_) => Err(sqlx::Error::RowNotFound.into()),
                None => Ok(jobs.iter().map(|&job| (job != ALONE).then_some(2 * job)).collect()),
            }
        }
    }

    type Went = Arc<Mutex<Vec<Vec<u32>>>>;

    fn doubling(permits: usize) -> (Batcher<Doubling>, Arc<Semaphore>, Went) {
        let (permits, went) = (Arc::new(Semaphore::new(permits)), Went::default());
        let doubling = Doubling { permits: permits.clone(), went: went.clone() };
        (Batcher::new(doubling, Duration::from_millis(100)), permits, went)
    }

    #[tokio::test]
    async fn those_who_come_while_one_is_under_way_go_together() {
        let (batcher, permits, went) = doubling(0);
        let calls = join_all((1..=100).map(|job| batcher.call(job)));
        let (answers, ()) = tokio::join!(calls, async {
            tokio::task::yield_now().await;
            permits.add_permits(3);
        });
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert_eq!(answers, (1..=100).map(|job| 2 * job).collect::<Vec<_>>());
        // All were there before the first exchange set out.
        assert_eq!(went.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [MOST, 100 - MOST]);
        assert_eq!(batcher.call(7).await.unwrap(), Some(14));
    }

    #[tokio::test]
    async fn who_has_gone_before_it_set_out_is_left_behind() {
        let (batcher, permits, went) = doubling(0);
        let first = tokio::spawn({
            let batcher = Batcher { shared: batcher.shared.clone() };
            async move { batcher.call(1).await }
        });
        while went.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        {
            let gone = std::pin::pin!(batcher.call(2));
            assert!(poll!(gone).is_pending());
        }
        let (stays, ()) = tokio::join!(batcher.call(3), async { permits.add_permits(2) });
        assert_eq!((first.await.unwrap().unwrap(), stays.unwrap()), (Some(2), Some(6)));
        assert_eq!(*went.lock().unwrap(), [[1], [3]]);
    }

    #[tokio::test]
    async fn a_late_exchange_is_not_waited_for() {
        let (batcher, permits, went) = doubling(0);
        let mut late = std::pin::pin!(batcher.call(1));
        while went.lock().unwrap().is_empty() {
            assert!(poll!(&mut late).is_pending());
            tokio::task::yield_now().await;
        }
        let next = async {
            let batcher = Batcher { shared: batcher.shared.clone() };
            let next = tokio::spawn(async move { batcher.call(2).await });
            while went.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            permits.add_permits(2);
            next.await.unwrap()
        };
        let (late, next) = tokio::join!(late, next);
        assert_eq!((late.unwrap(), next.unwrap()), (Some(2), Some(4)));
    }

    #[tokio::test]
    async fn each_hears_how_it_ended() {
        let (batcher, ..) = doubling(100);
        let together = async |jobs: [u32; 2]| {
            let [one, other] = jobs.map(|job| batcher.call(job));
            let (one, other) = tokio::join!(one, other);
            (one, other)
        };
        let (one, other) = together([5, ALONE]).await;
        assert_eq!((one.unwrap(), other.unwrap()), (Some(10), None));
        let (one, other) = together([5, REFUSED]).await;
        assert_eq!((one.unwrap(), other.unwrap()), (None, None));
        let (one, other) = together([5, AWAY]).await;
        assert!(one.unwrap_err().is_retryable() && other.unwrap_err().is_retryable());
        let (one, other) = together([5, PANICS]).await;
        assert_eq!((one.unwrap(), other.unwrap()), (None, None));
        assert_eq!(batcher.call(6).await.unwrap(), Some(12));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_while_all_exchanges_are_late() {
        let (batcher, _permits, went) = doubling(0);
        let stuck = (0..EXCHANGES).map(|job| {
            let batcher = Batcher { shared: batcher.shared.clone() };
            tokio::spawn(async move { batcher.call(job as u32).await })
        });
        let _stuck: Vec<_> = stuck.collect();
        for number in 0..EXCHANGES as u32 {
            while went.lock().unwrap().len() <= number as usize {
                // One after the other, each by itself or with those who came with it.
                let _ = tokio::time::timeout(Duration::from_millis(1), batcher.call(number)).await;
            }
        }
        assert!(batcher.call(9).await.unwrap_err().is_retryable());
        assert!(batcher.shared.gathered().waiting.is_empty());
    }

    #[test]
    fn a_runtime_may_end_with_jobs_under_way_and_waiting() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let (batcher, _permits, went) = doubling(0);
        for job in 0..3 {
            let (batcher, went) = (Batcher { shared: batcher.shared.clone() }, went.clone());
            runtime.spawn(async move { batcher.call(job).await });
            while went.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
        }
        drop(runtime);
        assert_eq!(batcher.shared.gathered().under_way.len(), 0);
    }
}
