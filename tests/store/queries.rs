use pref::domain::{QueryId, RequestId};
use pref::store::{QueryRow, Recall};

use crate::fixture::{DAY, Fixture, HOUR, NOW, answer_to, comparison, question, request, tenant, user};

crate::on_both_engines!(
    a_question_comes_back_as_it_was_stored,
    questions_and_their_reply_are_stored_together,
    unanswered_questions_are_forgotten_and_answered_ones_kept,
);

async fn a_question_comes_back_as_it_was_stored(f: &Fixture) {
    let query = f.ask(&user("ada"), comparison("x", "", "b \u{1F980}\n")).await;
    let stored = f.store.query(&tenant(), &user("ada"), query.query_id).await.unwrap();
    assert_eq!(stored, Some(query.clone()));
    assert_eq!(f.store.open_queries(&tenant(), &user("ada"), NOW).await.unwrap(), [query]);
    assert_eq!(f.store.query(&tenant(), &user("ada"), QueryId::random()).await.unwrap(), None);
}

async fn questions_and_their_reply_are_stored_together(f: &Fixture) {
    let ada = user("ada");
    let queries: Vec<QueryRow> = (0..3).map(|i| question(comparison("x", "a", &i.to_string()))).collect();
    let first = request(RequestId::random(), 1, "three questions");
    let save = f.store.save_queries(&tenant(), &ada, &queries, Some(&first), NOW).await.unwrap();
    assert_eq!(save, Recall::New);

    let more = [question(comparison("y", "a", "b"))];
    let save = f.store.save_queries(&tenant(), &ada, &more, Some(&first), NOW).await.unwrap();
    assert_eq!(save, Recall::Replayed(b"three questions".to_vec()));
    let reused = request(first.request_id, 2, "other");
    let save = f.store.save_queries(&tenant(), &ada, &more, Some(&reused), NOW).await.unwrap();
    assert_eq!(save, Recall::RequestIdReused);
    assert_eq!(f.store.open_queries(&tenant(), &ada, NOW).await.unwrap().len(), 3);
}

async fn unanswered_questions_are_forgotten_and_answered_ones_kept(f: &Fixture) {
    let ada = user("ada");
    let answered = f.ask(&ada, comparison("x", "a", "b")).await;
    f.answer(&ada, answer_to(&answered)).await;
    let open = f.ask(&ada, comparison("x", "a", "c")).await;
    assert_eq!(f.store.forget_unanswered_queries(&tenant(), NOW + HOUR).await.unwrap(), 0);
    assert_eq!(f.store.forget_unanswered_queries(&tenant(), NOW + DAY).await.unwrap(), 1);
    assert!(f.store.query(&tenant(), &ada, answered.query_id).await.unwrap().is_some());
    assert!(f.store.query(&tenant(), &ada, open.query_id).await.unwrap().is_none());
}
