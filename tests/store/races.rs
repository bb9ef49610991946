use std::collections::HashSet;
use std::sync::Arc;

use pref::domain::{JobId, Outcome};
use pref::store::{Append, ModelState, NewPreference};
use tokio::sync::Barrier;

use crate::fixture::{Fixture, NOW, answer_to, comparison, model, preference, request, tenant, user};

crate::on_both_engines!(
    of_two_appends_on_one_revision_one_wins,
    concurrent_answers_all_count,
    a_call_sent_many_times_at_once_counts_once,
    two_outcomes_at_once_for_one_question,
    a_request_id_raced_for_has_one_reply,
    a_job_is_claimed_by_one_worker,
    activations_at_once_leave_one_model_active,
);

/// Runs `call` for each of `0..n` at the same moment.
async fn at_once<T, F>(n: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|i| {
            let (barrier, call) = (barrier.clone(), call(i));
            tokio::spawn(async move {
                barrier.wait().await;
                call.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no call panics"));
    }
    results
}

async fn of_two_appends_on_one_revision_one_wins(f: &Fixture) {
    for round in 0..10 {
        let appends = at_once(2, |i| {
            let store = f.store.clone();
            let new = NewPreference {
                expected_revision: round,
                ..preference(comparison("x", "a", &format!("{round}.{i}")))
            };
            async move { store.append_preference(&tenant(), &user("ada"), &new).await.unwrap() }
        })
        .await;
        let revision = round + 1;
        assert!(appends.contains(&Append::Appended { revision }), "{appends:?}");
        assert!(appends.contains(&Append::Conflict { revision }), "{appends:?}");
    }
}

async fn concurrent_answers_all_count(f: &Fixture) {
    at_once(8, |i| {
        let store = f.store.clone();
        async move {
            let mut new = preference(comparison("x", "a", &i.to_string()));
            loop {
                match store.append_preference(&tenant(), &user("ada"), &new).await.unwrap() {
                    Append::Appended { .. } => return,
                    Append::Conflict { revision } => new.expected_revision = revision,
                    other => panic!("{other:?}"),
                }
            }
        }
    })
    .await;
    let lines = f.store.list_preferences(&tenant(), &user("ada"), 0, 100).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.position).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    let posterior = f.store.user(&tenant(), &user("ada"), &model("m1")).await.unwrap().unwrap().posterior;
    assert_eq!(posterior.map(|posterior| posterior.revision), Some(8));
}

async fn a_call_sent_many_times_at_once_counts_once(f: &Fixture) {
    let new = preference(comparison("x", "a", "b"));
    let appends = at_once(6, |_| {
        let (store, new) = (f.store.clone(), new.clone());
        async move { store.append_preference(&tenant(), &user("ada"), &new).await.unwrap() }
    })
    .await;
    let replayed = Append::Replayed(b"first reply".to_vec());
    assert_eq!(appends.iter().filter(|append| **append == replayed).count(), 5, "{appends:?}");
    assert!(appends.contains(&Append::Appended { revision: 1 }), "{appends:?}");
}

async fn two_outcomes_at_once_for_one_question(f: &Fixture) {
    let query = f.ask(&user("ada"), comparison("x", "a", "b")).await;
    let appends = at_once(2, |i| {
        let store = f.store.clone();
        let outcome = [Outcome::First, Outcome::Second][i];
        let new = NewPreference { outcome, ..answer_to(&query) };
        async move { store.append_preference(&tenant(), &user("ada"), &new).await.unwrap() }
    })
    .await;
    assert!(appends.contains(&Append::Appended { revision: 1 }), "{appends:?}");
    assert!(appends.contains(&Append::QueryAlreadyAnswered), "{appends:?}");
}

async fn a_request_id_raced_for_has_one_reply(f: &Fixture) {
    let id = pref::domain::RequestId::random();
    at_once(6, |i| {
        let store = f.store.clone();
        async move {
            let request = request(id, 1, &format!("reply {i}"));
            store.remember(&tenant(), None, &request).await.unwrap()
        }
    })
    .await;
    let replies = at_once(3, |_| {
        let store = f.store.clone();
        async move { store.recall(&tenant(), None, "NextQuery", id, &[1; 32], NOW).await.unwrap() }
    })
    .await;
    assert!(matches!(replies[0], pref::store::Recall::Replayed(_)), "{replies:?}");
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
}

async fn a_job_is_claimed_by_one_worker(f: &Fixture) {
    for at in 0..4 {
        f.store.create_job(&tenant(), JobId::random(), b"{}", None, NOW + at).await.unwrap();
    }
    let claims = at_once(6, |i| {
        let store = f.store.clone();
        async move { store.claim_job(&format!("worker {i}"), NOW + 10, NOW + 20).await.unwrap() }
    })
    .await;
    let claimed: Vec<_> = claims.into_iter().flatten().map(|job| job.job_id).collect();
    assert_eq!(claimed.len(), 4);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 4);
}

async fn activations_at_once_leave_one_model_active(f: &Fixture) {
    let versions = ["m1", "m2"];
    for version in versions {
        f.store.register_model(Some(&tenant()), &model(version), "{}", "", NOW).await.unwrap();
    }
    for _ in 0..400 {
        at_once(8, |i| {
            let (store, version) = (f.store.clone(), model(versions[i % 2]));
            async move {
                if store.begin_activation(&tenant(), &version, NOW).await.unwrap() {
                    store.finish_activation(&tenant(), &version, NOW).await.unwrap();
                }
            }
        })
        .await;
        let serving = f.store.serving_models(&tenant()).await.unwrap();
        let states: Vec<_> = serving.iter().map(|row| row.state).collect();
        assert_eq!(states, [ModelState::Active]);
    }
}
