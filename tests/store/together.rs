//! Answers of several people, and questions to them, that share their statements, on Postgres.

use std::time::Duration;

use futures::future::join_all;
use pref::domain::{Outcome, PreferenceId, QueryId, RequestId, UserId};
use pref::store::{
    Append, Asking, Basis, Idempotent, LatestQuery, NewPreference, QueryRow, Recall, Store, StoreConfig,
    StoreError,
};

use crate::fixture::{
    Fixture, NOW, Place, answer_to, comparison, connect, model, preference, question, request, tenant, user,
};

/// So many people, each with one answer.
async fn people(f: &Fixture) -> Vec<UserId> {
    let people: Vec<_> = (0..20).map(|n| user(&format!("person-{n}"))).collect();
    for person in &people {
        f.answer(person, preference(comparison("x", "a", person.as_str()))).await;
    }
    people
}

/// A store whose statements wait for a lock for longer than [`in_time`] does, so that whoever is held up is seen to be: with a
/// shorter patience they would all be done one by one afterwards.
async fn patient(f: &Fixture) -> Store {
    let config = StoreConfig { statement_timeout: Duration::from_secs(600), ..f.config.clone() };
    Store::connect(&config).await.unwrap()
}

async fn in_time<T>(nobody_holds_up: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), nobody_holds_up)
        .await
        .expect("nobody else's lock is waited for")
}

/// The second answer of a person.
fn second(person: &UserId) -> NewPreference {
    NewPreference { expected_revision: 1, ..preference(comparison("y", "a", person.as_str())) }
}

async fn append(store: &Store, person: &UserId, new: &NewPreference) -> Append {
    store.append_preference(&tenant(), person, new).await.expect("the database is there")
}

#[tokio::test]
async fn each_person_has_their_own_log() {
    let Some(f) = Fixture::postgres("together::each_person_has_their_own_log").await else { return };
    let people = people(&f).await;
    // Every other person answers once more, and one of them at length.
    let long = "word ".repeat(20_000);
    let appended = join_all(people.iter().step_by(2).map(async |person| {
        let response = if person == &people[4] { &long } else { "b" };
        let new =
            NewPreference { expected_revision: 1, ..preference(comparison(person.as_str(), response, "a")) };
        append(&f.store, person, &new).await
    }));
    assert!(appended.await.iter().all(|append| *append == Append::Appended { revision: 2 }));

    let (tenant, model) = (tenant(), model("m1"));
    let snapshots = people.iter().map(|person| f.store.submission_snapshot(&tenant, person, &model, None));
    for (n, snapshot) in join_all(snapshots).await.into_iter().enumerate() {
        let snapshot = snapshot.unwrap();
        let answers = if n % 2 == 0 { 2 } else { 1 };
        assert_eq!((snapshot.revision, snapshot.answers.len()), (Some(answers), answers as usize), "{n}");
        let lines = f.store.list_preferences(&tenant, &people[n], 0, 10).await.unwrap();
        assert_eq!(lines[0].comparison.response_b, people[n].as_str());
        assert!(answers == 1 || lines[1].comparison.prompt == people[n].as_str());
    }
    f.store.close().await;
}

#[tokio::test]
async fn a_locked_log_holds_up_nobody_else() {
    let Some(f) = Fixture::postgres("together::a_locked_log_holds_up_nobody_else").await else { return };
    let Place::Postgres(database) = &f.place else { unreachable!() };
    let (people, store) = (people(&f).await, patient(&f).await);
    let mut other = connect(database).await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM users WHERE user_id = 'person-0' FOR UPDATE")
        .execute(&mut other)
        .await
        .unwrap();

    let (locked, rest) = people.split_first().unwrap();
    let news: Vec<_> = rest.iter().map(|person| (person, second(person))).collect();
    let waits = second(locked);
    let mut waits = std::pin::pin!(append(&store, locked, &waits));
    let answered = join_all(news.iter().map(|(person, new)| append(&store, person, new)));
    tokio::select! {
        biased;
        append = &mut waits => panic!("somebody else has the log: {append:?}"),
        answered = in_time(answered) => assert!(answered.iter().all(|a| *a == Append::Appended { revision: 2 })),
    }
    let unlocked = async { sqlx::raw_sql("COMMIT").execute(&mut other).await };
    let (append, unlocked) = tokio::join!(waits, unlocked);
    unlocked.unwrap();
    assert_eq!(append, Append::Appended { revision: 2 });
    store.close().await;
    f.store.close().await;
}

#[tokio::test]
async fn what_is_refused_of_one_person_is_not_of_the_others() {
    let test = "together::what_is_refused_of_one_person_is_not_of_the_others";
    let Some(f) = Fixture::postgres(test).await else { return };
    let people = people(&f).await;
    let first = NewPreference { expected_revision: 1, ..second(&people[0]) };
    assert_eq!(append(&f.store, &people[0], &first).await, Append::Appended { revision: 2 });
    f.store.delete_user(&tenant(), &people[3], &[], NOW).await.unwrap();

    let news = people.iter().enumerate().map(|(n, person)| match n {
        0 => (person, NewPreference { expected_revision: 2, ..first.clone() }),
        1 => (person, NewPreference { expected_revision: 7, ..second(person) }),
        2 => (person, NewPreference { derived: Vec::new(), ..second(person) }),
        4 => (person, NewPreference { query_id: Some(QueryId::random()), ..second(person) }),
        _ => (person, second(person)),
    });
    let news: Vec<_> = news.collect();
    let ended = join_all(news.iter().map(|(person, new)| append(&f.store, person, new))).await;
    assert_eq!(ended[0], Append::Replayed(first.reply.clone()));
    assert_eq!(ended[1], Append::Conflict { revision: 1 });
    assert_eq!(ended[3], Append::Erased);
    assert_eq!(ended[4], Append::QueryNotFound);
    for (n, append) in ended.iter().enumerate().filter(|(n, _)| ![0, 1, 3, 4].contains(n)) {
        assert_eq!(*append, Append::Appended { revision: 2 }, "{n}");
    }
    f.store.close().await;
}

#[tokio::test]
async fn a_damaged_log_is_its_persons_trouble_and_a_long_one_nobodys() {
    let test = "together::a_damaged_log_is_its_persons_trouble_and_a_long_one_nobodys";
    let Some(f) = Fixture::postgres(test).await else { return };
    let Place::Postgres(database) = &f.place else { unreachable!() };
    let people = people(&f).await;
    let change = "UPDATE preference SET preference_id = 'no id' WHERE user_id = 'person-5';
                  UPDATE users SET revision = 5000 WHERE user_id = 'person-6'";
    sqlx::raw_sql(change).execute(&mut connect(database).await).await.unwrap();

    let (tenant, model) = (tenant(), model("m1"));
    let snapshots = people.iter().map(|person| f.store.submission_snapshot(&tenant, person, &model, None));
    for (n, snapshot) in join_all(snapshots).await.into_iter().enumerate() {
        match (n, snapshot) {
            (5, snapshot) => assert!(matches!(snapshot, Err(StoreError::Corrupt { .. })), "{snapshot:?}"),
            (_, snapshot) => {
                let (snapshot, revision) = (snapshot.unwrap(), if n == 6 { 5000 } else { 1 });
                assert_eq!((snapshot.revision, snapshot.answers.len()), (Some(revision), 1), "{n}");
            }
        }
    }
    f.store.close().await;
}

#[tokio::test]
async fn everybody_may_be_by_themselves() {
    let Some(f) = Fixture::postgres("together::everybody_may_be_by_themselves").await else { return };
    let people = people(&f).await;
    let config = StoreConfig { group_commit: false, ..f.config.clone() };
    let alone = Store::connect(&config).await.unwrap();
    let news: Vec<_> = people.iter().map(|person| (person, second(person))).collect();
    let ended = join_all(news.iter().map(|(person, new)| append(&alone, person, new))).await;
    assert!(ended.iter().all(|append| *append == Append::Appended { revision: 2 }), "{ended:?}");
    let snapshot = alone.submission_snapshot(&tenant(), &people[0], &model("m1"), None).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.answers.len()), (Some(2), 2));
    let asked = question(comparison("z", "a", "b"));
    assert_eq!(save(&alone, &people[0], &asked, None).await, Recall::New);
    assert_eq!(alone.open_queries(&tenant(), &people[0], NOW).await.unwrap(), [asked]);
    tokio::time::timeout(Duration::from_secs(5), alone.close()).await.unwrap();
    f.store.close().await;
}

#[tokio::test]
async fn an_answer_that_rests_on_what_is_remembered_is_stored_only_while_it_holds() {
    let test = "together::an_answer_that_rests_on_what_is_remembered_is_stored_only_while_it_holds";
    let Some(f) = Fixture::postgres(test).await else { return };
    let (tenant, person) = (tenant(), user("ada"));
    f.answer(&person, preference(comparison("x", "a", "b"))).await;
    let asked = question(comparison("z", "a", "b"));
    assert_eq!(save(&f.store, &person, &asked, None).await, Recall::New);
    let latest = f.store.submission_snapshot(&tenant, &person, &model("m1"), None).await.unwrap().latest;
    let expected = LatestQuery { query_id: asked.query_id, information_gain: asked.information_gain };
    assert_eq!(latest, Some(expected));

    let new = second(&person);
    let to_question = NewPreference { query_id: Some(asked.query_id), ..new.clone() };
    let is_stored = async |new: &NewPreference, basis: Basis| {
        f.store.append_at_once(&tenant, &person, new, basis).await.unwrap()
    };
    let other = LatestQuery { query_id: QueryId::random(), ..expected };
    assert!(!is_stored(&new, Basis::Remembered(None)).await, "a question was asked since");
    assert!(!is_stored(&new, Basis::Remembered(Some(other))).await, "another one was");
    let behind = NewPreference { expected_revision: 0, ..to_question.clone() };
    assert!(!is_stored(&behind, Basis::Remembered(latest)).await, "the log has moved on");
    assert_eq!(f.store.user_revision(&tenant, &person).await.unwrap(), Some(1), "nothing was changed");
    assert!(is_stored(&new, Basis::Remembered(latest)).await);
    // Which question came last is of no matter to an answer to one.
    let third = NewPreference { preference_id: PreferenceId::random(), expected_revision: 2, ..to_question };
    assert!(is_stored(&third, Basis::Remembered(None)).await);
    assert_eq!(f.store.user_revision(&tenant, &person).await.unwrap(), Some(3));

    // They are erased, come again, and are at the same revision: what is remembered is of somebody else.
    f.store.delete_user(&tenant, &person, &[], NOW).await.unwrap();
    let [first, next] = [question(comparison("z", "a", "b")), question(comparison("z", "a", "c"))];
    let to = |question: &QueryRow, expected_revision| NewPreference {
        preference_id: PreferenceId::random(),
        query_id: Some(question.query_id),
        expected_revision,
        ..new.clone()
    };
    for question in [&first, &next] {
        assert_eq!(save(&f.store, &person, question, None).await, Recall::New);
    }
    assert!(is_stored(&to(&first, 0), Basis::Read).await);
    let latest = LatestQuery { query_id: next.query_id, ..expected };
    assert!(!is_stored(&to(&next, 1), Basis::Remembered(Some(latest))).await, "they were erased");
    assert!(is_stored(&to(&next, 1), Basis::Read).await);
    f.store.close().await;
}

#[tokio::test]
async fn first_answers_to_questions_are_shared_with_second_ones() {
    let test = "together::first_answers_to_questions_are_shared_with_second_ones";
    let Some(f) = Fixture::postgres(test).await else { return };
    let mut news = Vec::new();
    for (n, person) in (0..12).map(|n| user(&format!("person-{n}"))).enumerate() {
        let revision = i64::from(n % 2 == 0);
        if revision == 1 {
            f.answer(&person, preference(comparison("x", "a", person.as_str()))).await;
        }
        let query = f.ask(&person, comparison(person.as_str(), "a", "b")).await;
        news.push((person, NewPreference { expected_revision: revision, ..answer_to(&query) }));
    }
    let ended = join_all(news.iter().map(|(person, new)| append(&f.store, person, new))).await;
    for (n, ((person, new), ended)) in news.iter().zip(ended).enumerate() {
        assert_eq!(ended, Append::Appended { revision: new.expected_revision + 1 }, "{n}");
        assert_eq!(append(&f.store, person, new).await, Append::Replayed(new.reply.clone()), "{n}");
        assert!(f.store.open_queries(&tenant(), person, NOW).await.unwrap().is_empty(), "{n}");
        let other = NewPreference {
            preference_id: PreferenceId::random(),
            outcome: Outcome::Second,
            expected_revision: new.expected_revision + 1,
            ..new.clone()
        };
        assert_eq!(append(&f.store, person, &other).await, Append::QueryAlreadyAnswered, "{n}");
    }
    f.store.close().await;
}

/// A question to each, of whom every other one has answered before and every third gave a request id; one of them is long.
async fn questions(f: &Fixture) -> Vec<(UserId, QueryRow, Option<Idempotent>)> {
    let people = (0..20).map(|n| user(&format!("person-{n}")));
    let mut questions = Vec::new();
    for (n, person) in people.enumerate() {
        if n % 2 == 0 {
            f.answer(&person, preference(comparison("x", "a", person.as_str()))).await;
        }
        let response = if n == 7 { "word ".repeat(20_000) } else { "b".to_owned() };
        let request = (n % 3 == 0).then(|| request(RequestId::random(), 1, person.as_str()));
        questions.push((person.clone(), question(comparison(person.as_str(), &response, "a")), request));
    }
    questions
}

async fn save(store: &Store, person: &UserId, query: &QueryRow, request: Option<&Idempotent>) -> Recall {
    let saved = store.save_queries(&tenant(), person, std::slice::from_ref(query), request, NOW).await;
    saved.expect("the database is there")
}

#[tokio::test]
async fn each_person_has_their_own_questions() {
    let Some(f) = Fixture::postgres("together::each_person_has_their_own_questions").await else { return };
    let asked = questions(&f).await;
    let saved =
        join_all(asked.iter().map(|(person, query, call)| save(&f.store, person, query, call.as_ref())));
    assert!(saved.await.iter().all(|saved| *saved == Recall::New));

    let (tenant, model) = (tenant(), model("m1"));
    let snapshots = join_all(asked.iter().map(async |(person, _, call)| {
        let call = call.as_ref().map(|call| (call.method, call.request_id, &call.body_hash));
        f.store.asking_snapshot(&tenant, person, &Asking { model: &model, pool: None, call, now: NOW }).await
    }));
    for (n, ((person, query, call), snapshot)) in asked.iter().zip(snapshots.await).enumerate() {
        let snapshot = snapshot.unwrap();
        let first = call.as_ref().map(|call| Recall::Replayed(call.reply.clone()));
        assert_eq!(snapshot.recall, first.unwrap_or(Recall::New), "{n}");
        let known = snapshot.person.expect("they were made");
        let answers = i64::from(n % 2 == 0);
        assert_eq!((known.revision, known.posterior.is_some()), (answers, answers == 1), "{n}");
        let mut seen = vec![query.comparison.pair_key()];
        seen.extend((answers == 1).then(|| comparison("x", "a", person.as_str()).pair_key()));
        assert_eq!(known.seen, seen.into_iter().collect(), "{n}");
        assert_eq!(known.open_deltas, std::slice::from_ref(&query.delta), "{n}");
        let open = f.store.open_queries(&tenant, person, NOW).await.unwrap();
        assert_eq!(open, std::slice::from_ref(query), "{n}");
    }
    f.store.close().await;
}

#[tokio::test]
async fn a_repeated_question_is_its_persons_alone() {
    let Some(f) = Fixture::postgres("together::a_repeated_question_is_its_persons_alone").await else {
        return;
    };
    let asked = questions(&f).await;
    for (person, query, call) in &asked {
        assert_eq!(save(&f.store, person, query, call.as_ref()).await, Recall::New);
    }
    let again: Vec<_> =
        asked.iter().map(|(person, ..)| question(comparison("y", "a", person.as_str()))).collect();
    // The first has another body under its request id.
    let calls = asked.iter().enumerate().map(|(n, (.., call))| match (n, call) {
        (0, Some(call)) => Some(Idempotent { body_hash: [2; 32], ..call.clone() }),
        (_, call) => call.clone(),
    });
    let calls: Vec<_> = calls.collect();
    let saved = join_all(
        asked
            .iter()
            .zip(&again)
            .zip(&calls)
            .map(|(((person, ..), query), call)| save(&f.store, person, query, call.as_ref())),
    );
    for (n, saved) in saved.await.into_iter().enumerate() {
        let (expected, open) = match &calls[n] {
            Some(_) if n == 0 => (Recall::RequestIdReused, 1),
            Some(call) => (Recall::Replayed(call.reply.clone()), 1),
            None => (Recall::New, 2),
        };
        assert_eq!(saved, expected, "{n}");
        assert_eq!(f.store.open_queries(&tenant(), &asked[n].0, NOW).await.unwrap().len(), open, "{n}");
    }
    f.store.close().await;
}

#[tokio::test]
async fn a_person_who_is_being_erased_holds_up_no_other_question() {
    let test = "together::a_person_who_is_being_erased_holds_up_no_other_question";
    let Some(f) = Fixture::postgres(test).await else { return };
    let Place::Postgres(database) = &f.place else { unreachable!() };
    let (asked, store) = (questions(&f).await, patient(&f).await);
    let mut other = connect(database).await;
    let erase = "BEGIN; UPDATE users SET updated = 9 WHERE user_id = 'person-0';
                 DELETE FROM users WHERE user_id = 'person-0'";
    sqlx::raw_sql(erase).execute(&mut other).await.unwrap();

    let (erased, rest) = asked.split_first().unwrap();
    let mut waits = std::pin::pin!(save(&store, &erased.0, &erased.1, erased.2.as_ref()));
    let saved = join_all(rest.iter().map(|(person, query, call)| save(&store, person, query, call.as_ref())));
    tokio::select! {
        biased;
        saved = &mut waits => panic!("they are being erased: {saved:?}"),
        saved = in_time(saved) => assert!(saved.iter().all(|saved| *saved == Recall::New)),
    }
    let gone = async { sqlx::raw_sql("COMMIT").execute(&mut other).await };
    let (saved, gone) = tokio::join!(waits, gone);
    gone.unwrap();
    assert_eq!(saved, Recall::New);
    let snapshot =
        f.store.submission_snapshot(&tenant(), &erased.0, &model("m1"), Some(erased.1.query_id)).await;
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.revision, snapshot.answers.len(), snapshot.query.is_some()), (Some(0), 0, true));
    store.close().await;
    f.store.close().await;
}
