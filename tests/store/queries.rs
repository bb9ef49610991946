use pref::domain::{QueryId, RequestId};
use pref::store::{Append, NewPreference, QueryRow, Recall, Swept};

use crate::fixture::{DAY, Fixture, HOUR, NOW, answer_to, comparison, question, request, tenant, user};

crate::on_both_engines!(
    a_question_comes_back_as_it_was_stored,
    questions_and_their_reply_are_stored_together,
    a_month_after_its_time_an_unanswered_question_is_swept_away,
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

async fn a_month_after_its_time_an_unanswered_question_is_swept_away(f: &Fixture) {
    let ada = user("ada");
    let answered = f.ask(&ada, comparison("x", "a", "b")).await;
    f.answer(&ada, answer_to(&answered)).await;
    let open = f.ask(&ada, comparison("x", "a", "c")).await;
    assert_eq!(f.store.sweep(NOW + 30 * DAY).await.unwrap(), Swept { requests: 0, queries: 0, choices: 0 });
    assert_eq!(
        f.store.sweep(NOW + HOUR + 30 * DAY).await.unwrap(),
        Swept { requests: 0, queries: 1, choices: 0 }
    );
    assert!(f.store.query(&tenant(), &ada, answered.query_id).await.unwrap().is_some());
    assert!(f.store.query(&tenant(), &ada, open.query_id).await.unwrap().is_none());
    let late = NewPreference { expected_revision: 1, ..answer_to(&open) };
    let late = f.store.append_preference(&tenant(), &ada, &late).await.unwrap();
    assert_eq!(late, Append::QueryNotFound);
}
