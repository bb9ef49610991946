//! Answers of several people that share their statements, on Postgres.

use std::time::Duration;

use futures::future::join_all;
use pref::domain::{QueryId, UserId};
use pref::store::{Append, NewPreference, Store, StoreConfig, StoreError};

use crate::fixture::{Fixture, NOW, Place, comparison, connect, model, preference, tenant, user};

/// So many people, each with one answer.
async fn people(f: &Fixture) -> Vec<UserId> {
    let people: Vec<_> = (0..20).map(|n| user(&format!("person-{n}"))).collect();
    for person in &people {
        f.answer(person, preference(comparison("x", "a", person.as_str()))).await;
    }
    people
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
    let people = people(&f).await;
    let mut other = connect(database).await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM users WHERE user_id = 'person-0' FOR UPDATE")
        .execute(&mut other)
        .await
        .unwrap();

    let (locked, rest) = people.split_first().unwrap();
    let news: Vec<_> = rest.iter().map(|person| (person, second(person))).collect();
    let waits = second(locked);
    let mut waits = std::pin::pin!(append(&f.store, locked, &waits));
    let answered = join_all(news.iter().map(|(person, new)| append(&f.store, person, new)));
    tokio::select! {
        biased;
        append = &mut waits => panic!("somebody else has the log: {append:?}"),
        answered = answered => assert!(answered.iter().all(|a| *a == Append::Appended { revision: 2 })),
    }
    let unlocked = async { sqlx::raw_sql("COMMIT").execute(&mut other).await };
    let (append, unlocked) = tokio::join!(waits, unlocked);
    unlocked.unwrap();
    assert_eq!(append, Append::Appended { revision: 2 });
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
async fn answers_may_each_be_by_themselves() {
    let Some(f) = Fixture::postgres("together::answers_may_each_be_by_themselves").await else { return };
    let people = people(&f).await;
    let config = StoreConfig { group_commit: false, ..f.config.clone() };
    let alone = Store::connect(&config).await.unwrap();
    let news: Vec<_> = people.iter().map(|person| (person, second(person))).collect();
    let ended = join_all(news.iter().map(|(person, new)| append(&alone, person, new))).await;
    assert!(ended.iter().all(|append| *append == Append::Appended { revision: 2 }), "{ended:?}");
    let snapshot = alone.submission_snapshot(&tenant(), &people[0], &model("m1"), None).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.answers.len()), (Some(2), 2));
    tokio::time::timeout(Duration::from_secs(5), alone.close()).await.unwrap();
    f.store.close().await;
}
