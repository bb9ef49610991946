use pref::domain::{Outcome, PreferenceId, RequestId, Weight};
use pref::store::{Append, Derived, NewPreference, Recall, Undo};

use crate::fixture::{
    Fixture, HOUR, NOW, answer_to, comparison, derived, model, preference, request, tenant, user,
};

crate::on_both_engines!(
    an_answer_is_in_the_log_with_its_fit,
    a_repeat_gets_the_first_reply,
    the_same_id_with_another_body_is_refused,
    a_question_is_answered_once,
    a_foreign_or_unknown_question_is_not_found,
    a_stale_revision_is_a_conflict,
    an_undo_takes_the_answer_out_and_advances_the_revision,
    a_request_that_said_what_had_been_said_stays_answered,
    undoing_twice_or_nothing_or_on_a_stale_revision,
    two_models_are_kept_side_by_side,
    the_log_pages_and_goes_back_in_time,
);

async fn an_answer_is_in_the_log_with_its_fit(f: &Fixture) {
    let ada = user("ada");
    let new = NewPreference {
        outcome: Outcome::Tie,
        weight: Weight::parse(0.25).unwrap(),
        ..preference(comparison("x", "a", ""))
    };
    let id = f.answer(&ada, new).await;

    let snapshot = f.store.user_snapshot(&tenant(), &ada, &model("m1")).await.unwrap().unwrap();
    assert_eq!(snapshot.revision, 1);
    let [answer] = snapshot.answers.as_slice() else { panic!("{:?}", snapshot.answers) };
    assert_eq!((answer.position, answer.preference_id, answer.outcome), (1, id, Outcome::Tie));
    assert_eq!((answer.weight.get(), answer.created), (0.25, NOW));
    assert_eq!(answer.delta.as_deref(), Some([0.5, -0.25].as_slice()));
    let posterior = snapshot.posterior.unwrap();
    assert_eq!((posterior.revision, posterior.answers), (1, 1));
    assert_eq!(posterior.coefficients, [2.0, f64::MIN_POSITIVE]);
    assert_eq!(posterior.hessian, [2.0, 0.1, 0.1, 3.0]);

    let lines = f.store.list_preferences(&tenant(), &ada, 0, 10).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].comparison, comparison("x", "a", ""));
    assert_eq!(f.store.preference(&tenant(), &ada, id).await.unwrap().as_ref(), Some(&lines[0]));
}

async fn a_repeat_gets_the_first_reply(f: &Fixture) {
    let ada = user("ada");
    let new = preference(comparison("x", "a", "b"));
    f.answer(&ada, new.clone()).await;

    // The retry of a client that heard nothing, with the old snapshot; then on top of a new one.
    for expected_revision in [0, 1] {
        let again = NewPreference { expected_revision, reply: b"another reply".to_vec(), ..new.clone() };
        let append = f.store.append_preference(&tenant(), &ada, &again).await.unwrap();
        assert_eq!(append, Append::Replayed(b"first reply".to_vec()), "on top of {expected_revision}");
    }
    let snapshot = f.store.user_snapshot(&tenant(), &ada, &model("m1")).await.unwrap().unwrap();
    assert_eq!((snapshot.revision, snapshot.answers.len()), (1, 1));
}

async fn the_same_id_with_another_body_is_refused(f: &Fixture) {
    let ada = user("ada");
    let new = preference(comparison("x", "a", "b"));
    f.answer(&ada, new.clone()).await;
    for expected_revision in [0, 1] {
        let other = NewPreference { expected_revision, body_hash: [2; 32], ..new.clone() };
        let append = f.store.append_preference(&tenant(), &ada, &other).await.unwrap();
        assert_eq!(append, Append::RequestIdReused, "on top of {expected_revision}");
    }
    // The same id of another user is another id.
    f.answer(&user("bob"), NewPreference { body_hash: [2; 32], ..new }).await;
}

async fn a_question_is_answered_once(f: &Fixture) {
    let ada = user("ada");
    let query = f.ask(&ada, comparison("x", "a", "b")).await;
    // Late: the question has expired.
    let id = f.answer(&ada, NewPreference { created: NOW + 2 * HOUR, ..answer_to(&query) }).await;
    assert_eq!(f.store.query(&tenant(), &ada, query.query_id).await.unwrap().unwrap().answered, Some(id));

    for expected_revision in [0, 1] {
        let same = NewPreference { expected_revision, ..answer_to(&query) };
        let append = f.store.append_preference(&tenant(), &ada, &same).await.unwrap();
        assert_eq!(append, Append::Replayed(b"first reply".to_vec()));
        let other = NewPreference { outcome: Outcome::Second, ..same };
        let append = f.store.append_preference(&tenant(), &ada, &other).await.unwrap();
        assert_eq!(append, Append::QueryAlreadyAnswered);
    }
}

async fn a_foreign_or_unknown_question_is_not_found(f: &Fixture) {
    let query = f.ask(&user("ada"), comparison("x", "a", "b")).await;
    let append = f.store.append_preference(&tenant(), &user("bob"), &answer_to(&query)).await.unwrap();
    assert_eq!(append, Append::QueryNotFound);
    // And bob was not made by it.
    assert_eq!(f.store.user(&tenant(), &user("bob"), &model("m1")).await.unwrap(), None);
    assert_eq!(f.store.query(&tenant(), &user("bob"), query.query_id).await.unwrap(), None);
}

async fn a_stale_revision_is_a_conflict(f: &Fixture) {
    let ada = user("ada");
    f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    for expected_revision in [0, 2] {
        let new = NewPreference { expected_revision, ..preference(comparison("x", "a", "c")) };
        let append = f.store.append_preference(&tenant(), &ada, &new).await.unwrap();
        assert_eq!(append, Append::Conflict { revision: 1 }, "on top of {expected_revision}");
    }
    assert_eq!(f.store.list_preferences(&tenant(), &ada, 0, 10).await.unwrap().len(), 1);
}

async fn an_undo_takes_the_answer_out_and_advances_the_revision(f: &Fixture) {
    let ada = user("ada");
    let query = f.ask(&ada, comparison("x", "a", "b")).await;
    let id = f.answer(&ada, answer_to(&query)).await;
    f.answer(&ada, preference(comparison("x", "a", "c"))).await;

    let refit = [Derived { delta: None, ..derived("m1", 7) }];
    let undo = f.store.delete_preference(&tenant(), &ada, id, 2, NOW + 1, &refit, None).await.unwrap();
    assert_eq!(undo, Undo::Undone { revision: 3 });

    let snapshot = f.store.user_snapshot(&tenant(), &ada, &model("m1")).await.unwrap().unwrap();
    assert_eq!(snapshot.revision, 3);
    assert_eq!(snapshot.answers.iter().map(|answer| answer.position).collect::<Vec<_>>(), [2]);
    assert_eq!(snapshot.posterior.map(|posterior| (posterior.revision, posterior.answers)), Some((3, 7)));
    assert_eq!(f.store.preference(&tenant(), &ada, id).await.unwrap(), None);

    // The question is open again and can be answered the other way; the first call's id keeps its reply.
    let again = NewPreference { preference_id: id, expected_revision: 3, ..answer_to(&query) };
    let append = f.store.append_preference(&tenant(), &ada, &again).await.unwrap();
    assert_eq!(append, Append::Replayed(b"first reply".to_vec()));
    f.answer(&ada, NewPreference { outcome: Outcome::Second, ..answer_to(&query) }).await;
    let positions = f.store.list_preferences(&tenant(), &ada, 0, 10).await.unwrap();
    assert_eq!(positions.iter().map(|line| line.position).collect::<Vec<_>>(), [2, 4]);
}

async fn a_request_that_said_what_had_been_said_stays_answered(f: &Fixture) {
    let ada = user("ada");
    let query = f.ask(&ada, comparison("x", "a", "b")).await;
    let id = f.answer(&ada, answer_to(&query)).await;
    // As a second click comes, with an id of its own.
    let request_id = RequestId::random();
    let again = NewPreference {
        preference_id: PreferenceId::of_request(&tenant(), &ada, request_id),
        request_id: Some(request_id),
        reply: b"another reply".to_vec(),
        ..answer_to(&query)
    };
    let first = Append::Replayed(b"first reply".to_vec());
    let append = async |new: NewPreference| f.store.append_preference(&tenant(), &ada, &new).await.unwrap();
    assert_eq!(append(NewPreference { expected_revision: 1, ..again.clone() }).await, first);

    f.store.delete_preference(&tenant(), &ada, id, 1, NOW, &[], None).await.unwrap();
    for expected_revision in [1, 2] {
        assert_eq!(
            append(NewPreference { expected_revision, ..again.clone() }).await,
            first,
            "it was taken back"
        );
        let other = NewPreference { expected_revision, body_hash: [2; 32], ..again.clone() };
        assert_eq!(append(other).await, Append::RequestIdReused);
    }
    assert_eq!(f.store.list_preferences(&tenant(), &ada, 0, 10).await.unwrap(), []);

    f.answer(&ada, NewPreference { outcome: Outcome::Second, ..answer_to(&query) }).await;
    assert_eq!(
        append(NewPreference { expected_revision: 3, ..again.clone() }).await,
        first,
        "whatever was said since"
    );
    let late = NewPreference { created: NOW + HOUR, expected_revision: 3, ..again };
    assert_eq!(append(late).await, Append::QueryAlreadyAnswered, "it is kept for as long as other replies");
}

async fn undoing_twice_or_nothing_or_on_a_stale_revision(f: &Fixture) {
    let ada = user("ada");
    let id = f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    let stale = f.store.delete_preference(&tenant(), &ada, id, 0, NOW, &[], None).await.unwrap();
    assert_eq!(stale, Undo::Conflict { revision: 1 });
    let foreign = f.store.delete_preference(&tenant(), &user("bob"), id, 0, NOW, &[], None).await.unwrap();
    assert_eq!(foreign, Undo::NotFound);
    assert_eq!(f.store.user(&tenant(), &user("bob"), &model("m1")).await.unwrap(), None);
    let unknown = f.store.delete_preference(&tenant(), &ada, PreferenceId::random(), 1, NOW, &[], None).await;
    assert_eq!(unknown.unwrap(), Undo::NotFound);

    let request_id = pref::domain::RequestId::random();
    let first = request(request_id, 1, "undone");
    let undo = f.store.delete_preference(&tenant(), &ada, id, 1, NOW, &[], Some(&first)).await.unwrap();
    assert_eq!(undo, Undo::Undone { revision: 2 });
    let undo = f.store.delete_preference(&tenant(), &ada, id, 2, NOW, &[], Some(&first)).await.unwrap();
    assert_eq!(undo, Undo::Replayed(b"undone".to_vec()));
    let other = request(request_id, 2, "undone");
    let undo = f.store.delete_preference(&tenant(), &ada, id, 2, NOW, &[], Some(&other)).await.unwrap();
    assert_eq!(undo, Undo::RequestIdReused);
    let undo = f.store.delete_preference(&tenant(), &ada, id, 2, NOW, &[], None).await.unwrap();
    assert_eq!(undo, Undo::AlreadyUndone);

    // A request that came to nothing is not remembered.
    let vain = request(pref::domain::RequestId::random(), 1, "undone");
    f.store.delete_preference(&tenant(), &ada, id, 2, NOW, &[], Some(&vain)).await.unwrap();
    let recall = f.store.recall(&tenant(), Some(&ada), vain.method, vain.request_id, &[1; 32], NOW).await;
    assert_eq!(recall.unwrap(), Recall::New);
}

async fn two_models_are_kept_side_by_side(f: &Fixture) {
    let ada = user("ada");
    f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    let both = vec![derived("m1", 2), Derived { delta: Some(vec![9.0]), ..derived("m2", 2) }];
    f.answer(&ada, NewPreference { derived: both, ..preference(comparison("x", "a", "c")) }).await;

    let under = async |version: &str| {
        let snapshot = f.store.user_snapshot(&tenant(), &ada, &model(version)).await.unwrap().unwrap();
        let deltas: Vec<_> = snapshot.answers.into_iter().map(|answer| answer.delta).collect();
        (snapshot.revision, snapshot.posterior.map(|posterior| posterior.revision), deltas)
    };
    let delta = Some(vec![0.5, -0.25]);
    assert_eq!(under("m1").await, (2, Some(2), vec![delta.clone(), delta]));
    assert_eq!(under("m2").await, (2, Some(2), vec![None, Some(vec![9.0])]));
    assert_eq!(under("m3").await, (2, None, vec![None, None]));
}

async fn the_log_pages_and_goes_back_in_time(f: &Fixture) {
    let (ada, bob) = (user("ada"), user("bob"));
    let mut ids = Vec::new();
    for (name, at) in [(&ada, 1), (&bob, 2), (&ada, 3), (&bob, 4), (&ada, 5)] {
        let new = NewPreference { created: NOW + at, ..preference(comparison("x", "a", &at.to_string())) };
        ids.push(f.answer(name, new).await);
    }
    let undo = f.store.delete_preference(&tenant(), &ada, ids[0], 3, NOW + 6, &[], None).await.unwrap();
    assert_eq!(undo, Undo::Undone { revision: 4 });

    let log = async |as_of: i64| {
        let mut lines = Vec::new();
        let mut after = None;
        loop {
            let page =
                f.store.service_log(&tenant(), as_of, after.as_ref().map(|(u, p)| (u, *p)), 2).await.unwrap();
            let Some(last) = page.last() else { return lines };
            after = Some((last.user_id.clone(), last.preference.position));
            lines.extend(page.into_iter().map(|line| line.preference.comparison.response_b));
        }
    };
    assert_eq!(log(NOW + 4).await, ["1", "3", "2", "4"]);
    assert_eq!(log(NOW + 5).await, ["1", "3", "5", "2", "4"]);
    assert_eq!(log(NOW + 6).await, ["3", "5", "2", "4"]);

    let page = f.store.list_preferences(&tenant(), &ada, 0, 1).await.unwrap();
    assert_eq!(page[0].comparison.response_b, "3");
    let page = f.store.list_preferences(&tenant(), &ada, page[0].position, 1).await.unwrap();
    assert_eq!(page[0].comparison.response_b, "5");
}
