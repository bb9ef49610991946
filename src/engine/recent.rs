//! What this server knows of people from their last call, so that their next answer needs no read.
//!
//! It is a guess at what the database holds, and nothing rests on its being right: an answer built on it is only stored if the
//! log is still at its revision and nobody of this name was erased lately, and built again on what is read where it is not.
//! Whoever is erased, on whatever server, is forgotten here, too; where that might not be heard of, nothing is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Target;
use super::recent_metrics::RecentMetrics;
use super::refit::Counted;
use crate::domain::{Comparison, ModelVersion, QueryId};
use crate::store::{
    AskedQuery, ERASURE_MEMORY, LatestQuery, QueryRow, Revision, SubmissionSnapshot, UserHash,
};

/// Answers up to which a log is kept.
const MOST_ANSWERS: usize = 64;
/// Texts of questions up to which they are kept, bytes a person.
const MOST_TEXT: usize = 8192;
/// People who do not call are forgotten after one to two of these.
const PERIOD: Duration = Duration::from_secs(120);
/// As long as an answer of somebody who was erased is not stored from memory.
const ERASED: Duration = Duration::from_millis(ERASURE_MEMORY.unsigned_abs());
/// People of whom it is kept that they were erased.
const MOST_ERASED: usize = 1 << 16;
/// How much of what was found lately counts: right so many times more often than wrong.
const MOST_TRUST: i32 = 32;

/// A person's log, as an answer needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecentLog {
    /// Whose δ they are.
    pub(super) model: ModelVersion,
    pub(super) revision: Revision,
    pub(super) counted: Counted,
    pub(super) latest: Option<LatestQuery>,
    /// Questions that this server put to them last.
    pub(super) asked: Vec<(QueryId, AskedQuery)>,
}

/// Logs of people who called lately, in two generations: who calls moves to the younger one, and the older one is dropped
/// when the younger is full or old.
pub(super) struct RecentLogs {
    kept: Mutex<Kept>,
    /// What both generations may take; 0: nothing is kept.
    most_bytes: usize,
    /// Right guesses less wrong ones, lately. Where other servers get most of a person's calls, guessing costs more than it spares.
    trust: AtomicI32,
    metrics: RecentMetrics,
}

struct Kept {
    young: Generation,
    old: Generation,
    /// What the young ones took when they came.
    young_bytes: usize,
    /// When the younger generation began.
    since: Instant,
    /// Whoever was erased is not remembered for as long: a call from before may still be on its way.
    erased: HashMap<UserHash, Instant>,
    /// Whether this server hears of who is erased.
    hears: bool,
}

type Generation = HashMap<UserHash, RecentLog>;

impl RecentLogs {
    pub(super) fn new(most_bytes: usize, metrics: RecentMetrics) -> Self {
        let kept = Kept {
            young: HashMap::new(),
            old: HashMap::new(),
            young_bytes: 0,
            since: Instant::now(),
            erased: HashMap::new(),
            hears: false,
        };
        Self { kept: Mutex::new(kept), most_bytes, trust: AtomicI32::new(0), metrics }
    }

    /// What is known of a person under `model`. Whoever changes their log puts back what is known then.
    pub(super) fn take(&self, person: &UserHash, model: &ModelVersion) -> Option<RecentLog> {
        let mut kept = self.kept();
        let log = kept.remove(person);
        self.show(&kept);
        log.filter(|log| log.model == *model)
    }

    /// Whether a guess is worth a try: they have been right at least as often as wrong.
    pub(super) fn is_trusted(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= 0
    }

    /// Counts a guess that was found right or wrong, tried or not.
    pub(super) fn found(&self, is_right: bool) {
        self.metrics.found(is_right);
        let step = if is_right { 1 } else { -1 };
        let next = |trust: i32| Some((trust + step).clamp(-MOST_TRUST, MOST_TRUST));
        let _ = self.trust.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Remembers a log that has just been read or written.
    pub(super) fn keep(&self, person: UserHash, log: RecentLog) {
        if self.most_bytes == 0 || log.counted.len() > MOST_ANSWERS {
            return;
        }
        let mut kept = self.kept();
        if !kept.hears || kept.erased.contains_key(&person) {
            return;
        }
        kept.young_bytes += log.bytes();
        kept.young.insert(person, log);
        let dropped = if kept.young_bytes > self.most_bytes / 2 { kept.turn() } else { Generation::new() };
        self.show(&kept);
        // So many are dropped while nobody else waits for it.
        drop(kept);
        drop(dropped);
    }

    /// Remembers that a person whose log was found at `revision` has been asked `queries`.
    pub(super) fn asked(
        &self,
        person: UserHash,
        model: &ModelVersion,
        revision: Revision,
        queries: &[QueryRow],
    ) {
        let known = self.take(&person, model);
        if let Some(log) = &known {
            self.found(log.revision == revision);
        }
        let log = match known {
            Some(log) if log.revision == revision => log,
            // Nothing is known of them at all, and that is all there is.
            _ if revision == 0 => {
                let (model, counted, asked) = (model.clone(), Counted::default(), Vec::new());
                RecentLog { model, revision, counted, latest: None, asked }
            }
            _ => return,
        };
        let best = queries.iter().max_by(|a, b| a.information_gain.total_cmp(&b.information_gain));
        let latest = best
            .map(|query| LatestQuery { query_id: query.query_id, information_gain: query.information_gain });
        let are_short = queries.iter().map(|query| text_bytes(&query.comparison)).sum::<usize>() <= MOST_TEXT;
        let asked = queries.iter().filter(|_| are_short);
        let asked = asked.map(|query| (query.query_id, AskedQuery::from(query))).collect();
        self.keep(person, RecentLog { latest, asked, ..log });
    }

    /// Forgets a person whose log was changed.
    pub(super) fn forget(&self, person: &UserHash) {
        let mut kept = self.kept();
        kept.remove(person);
        self.show(&kept);
    }

    /// Forgets a person who is erased.
    pub(super) fn erase(&self, person: UserHash) {
        let mut kept = self.kept();
        kept.remove(&person);
        if kept.erased.len() == MOST_ERASED {
            kept.erased.clear();
        }
        if self.most_bytes > 0 {
            kept.erased.insert(person, Instant::now());
        }
        self.show(&kept);
    }

    /// Hears of who is erased for as long as what is returned lives. What was missed before is forgotten.
    pub(super) fn listen(&self) -> Listening<'_> {
        self.hear(true);
        Listening(self)
    }

    /// Forgets who has not called for a while.
    pub(super) fn age(&self) {
        let mut kept = self.kept();
        kept.erased.retain(|_, since| since.elapsed() < ERASED);
        let dropped = if kept.since.elapsed() >= PERIOD { kept.turn() } else { Generation::new() };
        self.show(&kept);
        drop(kept);
        drop(dropped);
    }

    fn hear(&self, hears: bool) {
        let mut kept = self.kept();
        kept.hears = hears;
        let dropped = [kept.turn(), kept.turn()];
        self.show(&kept);
        drop(kept);
        drop(dropped);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, kept: &Kept) {
        self.metrics.set_remembered(kept.young.len() + kept.old.len());
    }
}

/// When it ends, this server does not hear of who is erased any more.
pub(super) struct Listening<'a>(&'a RecentLogs);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.hear(false);
    }
}

impl Kept {
    /// Takes a log out, wherever it is.
    fn remove(&mut self, person: &UserHash) -> Option<RecentLog> {
        let young = self.young.remove(person);
        if let Some(log) = &young {
            self.young_bytes = self.young_bytes.saturating_sub(log.bytes());
        }
        young.or_else(|| self.old.remove(person))
    }

    /// Begins a generation; the oldest one is returned.
    fn turn(&mut self) -> Generation {
        self.young_bytes = 0;
        self.since = Instant::now();
        std::mem::replace(&mut self.old, std::mem::take(&mut self.young))
    }
}

impl RecentLog {
    /// Whether an answer to `target` needs nothing else.
    pub(super) fn suffices(&self, target: &Target) -> bool {
        match target {
            Target::Query(id) => self.asked.iter().any(|(asked, _)| asked == id),
            // Nobody need be there at revision 0.
            Target::Comparison(_) | Target::Choices { .. } => self.revision > 0,
        }
    }

    /// The question that is answered now.
    pub(super) fn take_asked(&mut self, id: &QueryId) -> Option<AskedQuery> {
        let place = self.asked.iter().position(|(asked, _)| asked == id)?;
        Some(self.asked.swap_remove(place).1)
    }

    /// What it takes of memory, with its place in the map.
    fn bytes(&self) -> usize {
        let asked = self.asked.iter().map(|(_, query)| {
            size_of::<(QueryId, AskedQuery)>()
                + text_bytes(&query.comparison)
                + query.model_version.as_str().len()
                + size_of_val(&query.delta[..])
        });
        size_of::<(UserHash, Self)>()
            + self.model.as_str().len()
            + self.counted.bytes()
            + asked.sum::<usize>()
    }
}

/// What a guess rests on, to be held against what is read.
pub(super) struct Guess {
    revision: Revision,
    /// Nothing where an answer to a question does not ask which one came last.
    latest: Option<Option<LatestQuery>>,
}

impl Guess {
    pub(super) fn of(log: &RecentLog, target: &Target) -> Self {
        let is_of_a_question = matches!(target, Target::Query(_));
        Self { revision: log.revision, latest: (!is_of_a_question).then_some(log.latest) }
    }

    /// Whether it is what was read.
    pub(super) fn holds(&self, snapshot: &SubmissionSnapshot) -> bool {
        snapshot.revision == Some(self.revision) && self.latest.is_none_or(|latest| latest == snapshot.latest)
    }
}

fn text_bytes(texts: &Comparison) -> usize {
    texts.prompt.len() + texts.response_a.len() + texts.response_b.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, PreferenceId, Weight};
    use crate::store::Answer;

    fn person(number: u8) -> UserHash {
        serde_json::from_value(vec![number; 32].into()).unwrap()
    }

    fn model(name: &str) -> ModelVersion {
        ModelVersion::parse(name).unwrap()
    }

    fn log(revision: Revision) -> RecentLog {
        let mut counted = Counted::default();
        (0..revision).for_each(|at| counted.push(Outcome::First, Weight::ONE, vec![1.0, 2.0], at, 0.25));
        RecentLog { model: model("m1"), revision, counted, latest: None, asked: Vec::new() }
    }

    fn query(information_gain: f64, response: &str) -> QueryRow {
        QueryRow {
            query_id: QueryId::random(),
            comparison: Comparison {
                prompt: "x".to_owned(),
                response_a: response.to_owned(),
                response_b: "b".to_owned(),
            },
            model_version: model("m1"),
            delta: vec![0.5, 0.5],
            information_gain,
            predicted_preference: 0.5,
            created: 0,
            expires: 1,
            answered: None,
        }
    }

    fn hearing(most_bytes: usize) -> RecentLogs {
        let logs = RecentLogs::new(most_bytes, RecentMetrics::default());
        logs.hear(true);
        logs
    }

    #[test]
    fn a_log_is_taken_out_by_whoever_changes_it_and_under_its_model_only() {
        let logs = hearing(1 << 20);
        logs.keep(person(1), log(2));
        assert_eq!(logs.take(&person(2), &model("m1")), None);
        assert_eq!(logs.take(&person(1), &model("m1")), Some(log(2)));
        assert_eq!(logs.take(&person(1), &model("m1")), None);
        logs.keep(person(1), log(2));
        assert_eq!(logs.take(&person(1), &model("m2")), None);
        logs.keep(person(1), log(2));
        logs.forget(&person(1));
        assert_eq!(logs.take(&person(1), &model("m1")), None);
        assert_eq!(logs.kept().young_bytes, 0);
    }

    #[test]
    fn it_takes_no_more_than_it_may_and_those_who_call_stay() {
        let logs = hearing(20 * log(2).bytes());
        for number in 0..=255 {
            logs.keep(person(number), log(2));
            let caller = logs.take(&person(0), &model("m1")).expect("who calls is remembered");
            logs.keep(person(0), caller);
        }
        let kept = logs.kept();
        let people = kept.young.len() + kept.old.len();
        assert!((10..=20).contains(&people), "{people}");
        drop(kept);
        assert_eq!(logs.take(&person(3), &model("m1")), None);
        assert_eq!(logs.take(&person(255), &model("m1")), Some(log(2)));
    }

    #[test]
    fn who_has_not_called_for_a_while_is_forgotten() {
        let logs = hearing(1 << 20);
        logs.keep(person(1), log(2));
        logs.age();
        assert!(!logs.kept().young.is_empty(), "they came just now");
        for _ in 0..2 {
            logs.kept().since = Instant::now().checked_sub(PERIOD).unwrap();
            logs.age();
        }
        assert_eq!(logs.take(&person(1), &model("m1")), None);
    }

    #[test]
    fn long_logs_are_not_kept_nor_any_where_none_may_be() {
        let (logs, none) = (hearing(1 << 20), hearing(0));
        logs.keep(person(1), log(MOST_ANSWERS as Revision + 1));
        none.keep(person(1), log(1));
        assert_eq!(logs.take(&person(1), &model("m1")).or(none.take(&person(1), &model("m1"))), None);
    }

    #[test]
    fn nobody_is_remembered_who_may_have_been_erased() {
        let logs = hearing(1 << 20);
        logs.keep(person(1), log(2));
        let on_its_way = logs.take(&person(1), &model("m1")).unwrap();
        logs.erase(person(1));
        logs.keep(person(1), on_its_way);
        assert_eq!(logs.take(&person(1), &model("m1")), None);

        let listening = logs.listen();
        logs.keep(person(2), log(2));
        drop(listening);
        assert_eq!(logs.take(&person(2), &model("m1")), None);
        logs.keep(person(2), log(2));
        assert_eq!(logs.take(&person(2), &model("m1")), None);
        let _listening = logs.listen();
        logs.keep(person(2), log(2));
        assert_eq!(logs.take(&person(2), &model("m1")), Some(log(2)));
    }

    #[test]
    fn lines_of_a_log_that_tell_nothing_take_no_memory() {
        let line = |at, delta| Answer {
            position: at,
            preference_id: PreferenceId::random(),
            outcome: Outcome::First,
            weight: Weight::ONE,
            created: at,
            delta,
        };
        let silent = (0..10_000).map(|at| line(at, None));
        let counted = silent.chain((0..2).map(|at| line(at, Some(vec![1.0, 2.0])))).collect();
        let counted = Counted::of(counted, 0.25);
        assert_eq!((counted.bytes(), &counted), (log(2).counted.bytes(), &log(2).counted));
    }

    #[test]
    fn a_guess_is_right_where_all_that_it_rests_on_was_read() {
        let [one, other] = [0.2, 0.3].map(|gain| query(gain, "a"));
        let [one, other] = [one, other]
            .map(|query| LatestQuery { query_id: query.query_id, information_gain: query.information_gain });
        let known = RecentLog { latest: Some(one), ..log(2) };
        let question = Guess::of(&known, &Target::Query(one.query_id));
        let comparison = Guess::of(&known, &Target::Comparison(query(0.1, "a").comparison));
        let read = |revision, latest| SubmissionSnapshot { revision, latest, ..Default::default() };
        assert!(question.holds(&read(Some(2), Some(one))) && comparison.holds(&read(Some(2), Some(one))));
        assert!(
            question.holds(&read(Some(2), Some(other))) && !comparison.holds(&read(Some(2), Some(other)))
        );
        for revision in [None, Some(1), Some(3)] {
            assert!(
                !question.holds(&read(revision, Some(one))) && !comparison.holds(&read(revision, Some(one)))
            );
        }
    }

    #[test]
    fn guesses_are_given_up_while_they_are_wrong_more_often_than_right() {
        let logs = hearing(1 << 20);
        assert!(logs.is_trusted());
        (0..1000).for_each(|_| logs.found(true));
        (0..MOST_TRUST).for_each(|_| logs.found(false));
        assert!(logs.is_trusted());
        logs.found(false);
        assert!(!logs.is_trusted());
        (0..1000).for_each(|_| logs.found(false));
        (0..MOST_TRUST).for_each(|_| logs.found(true));
        assert!(logs.is_trusted());
    }

    #[test]
    fn questions_are_remembered_with_the_log_that_they_were_chosen_by() {
        let logs = hearing(1 << 20);
        let (good, best, long) = (query(0.2, "a"), query(0.3, "c"), query(0.1, &"word ".repeat(MOST_TEXT)));
        let latest = LatestQuery { query_id: best.query_id, information_gain: 0.3 };
        let both = [(good.query_id, AskedQuery::from(&good)), (best.query_id, AskedQuery::from(&best))];

        // Of a person who has answered, only where their answers are known.
        logs.asked(person(1), &model("m1"), 2, &[good.clone(), best.clone()]);
        assert_eq!(logs.take(&person(1), &model("m1")), None);
        logs.keep(person(1), log(2));
        logs.asked(person(1), &model("m1"), 2, &[good.clone(), best.clone()]);
        let mut known = logs.take(&person(1), &model("m1")).unwrap();
        assert_eq!(known, RecentLog { latest: Some(latest), asked: both.to_vec(), ..log(2) });
        assert!(known.suffices(&Target::Query(good.query_id)));
        assert_eq!(known.take_asked(&good.query_id), Some(AskedQuery::from(&good)));
        assert!(!known.suffices(&Target::Query(good.query_id)));
        assert!(known.suffices(&Target::Comparison(good.comparison.clone())));

        // Another server has had an answer of theirs.
        logs.keep(person(1), log(2));
        logs.asked(person(1), &model("m1"), 3, std::slice::from_ref(&good));
        assert_eq!(logs.take(&person(1), &model("m1")), None);

        // Of a person of whom nothing is known that is all.
        logs.asked(person(2), &model("m1"), 0, &[long]);
        logs.asked(person(2), &model("m1"), 0, std::slice::from_ref(&best));
        let known = logs.take(&person(2), &model("m1")).unwrap();
        assert_eq!(known, RecentLog { latest: Some(latest), asked: both[1..].to_vec(), ..log(0) });
        assert!(known.suffices(&Target::Query(best.query_id)));
        assert!(!known.suffices(&Target::Comparison(best.comparison)));
    }
}
