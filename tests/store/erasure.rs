use pref::domain::{Candidates, CompletionId, ContentHash, DatasetId, Judgment, RequestId, UserId};
use pref::store::{Append, Erasure, NewPreference, Recall, StoredPosterior};

use crate::completions::choice;
use crate::fixture::{
    DAY, Fixture, HOUR, NOW, answer_to, comparison, model, pool, preference, request, tenant, user,
};

crate::on_both_engines!(
    erasure_leaves_no_trace_in_any_table,
    erasure_is_idempotent_for_a_day,
    a_late_retry_does_not_bring_an_erased_user_back,
    an_erased_user_may_come_back,
);

const NAME: &str = "ada.lovelace@example.org";

async fn erasure_leaves_no_trace_in_any_table(f: &Fixture) {
    let (ada, bob) = (user(NAME), user("bob"));
    f.store.register_model(Some(&tenant()), &model("m1"), "{}", "models/m1", NOW).await.unwrap();
    let line = |user_id: &UserId, text: &str| Judgment {
        user_id: user_id.clone(),
        comparison: comparison(text, "a", "b"),
        preference: 1.0,
        group: String::new(),
    };
    let set = DatasetId::parse("set").unwrap();
    let lines = [line(&ada, "ada's imported words"), line(&bob, "bob's imported words")];
    f.store.append_dataset(&tenant(), &set, &lines, NOW).await.unwrap();
    let candidates =
        Candidates { prompt: "pool prompt".to_owned(), responses: vec!["one".into(), "two".into()] };
    f.store.import_candidates(&tenant(), &pool("chat"), &[candidates], NOW).await.unwrap();

    let query = f.ask(&ada, comparison("pool prompt", "one", "two")).await;
    f.ask(&ada, comparison("open prompt of ada", "a", "b")).await;
    f.answer(&ada, answer_to(&query)).await;
    let undone = NewPreference {
        reply: NAME.as_bytes().to_vec(),
        ..preference(comparison("own prompt", "own answer", "b"))
    };
    let undone = f.answer(&ada, undone).await;
    let key = request(RequestId::random(), 1, NAME);
    f.store.delete_preference(&tenant(), &ada, undone, 2, NOW, &[], Some(&key)).await.unwrap();
    let fit = StoredPosterior { revision: 3, answers: 1, coefficients: vec![1.0], hessian: vec![1.0] };
    f.store.put_posterior(&tenant(), &ada, &model("m2"), NOW, &fit, &[(1, vec![1.0])]).await.unwrap();
    let given = [choice(CompletionId::random(), 0, "completion for ada")];
    f.store.save_choices(&tenant(), &ada, &given, NOW).await.unwrap();
    let given = [choice(CompletionId::random(), 0, "completion for bob")];
    f.store.save_choices(&tenant(), &bob, &given, NOW).await.unwrap();
    f.answer(&bob, preference(comparison("bob's prompt", "a", "b"))).await;
    let contents = [("own prompt", "own answer"), ("open prompt of ada", "b"), ("pool prompt", "one")]
        .map(|(x, y)| ContentHash::new(x, y));
    f.store.put_embeddings(&tenant(), "lexical", &contents.map(|c| (c, [1.0]))).await.unwrap();

    let traces = [
        NAME,
        "ada's imported words",
        "open prompt of ada",
        "own prompt",
        "own answer",
        "completion for ada",
    ];
    let kept = ["bob", "completion for bob", "bob's prompt", "bob's imported words", "pool prompt"];
    for text in traces.iter().chain(&kept) {
        assert!(f.holds(text).await, "the scan cannot see {text:?}");
    }
    // A table with users that this test puts nobody into would be left out of it.
    let about = f.rows_about(&ada).await;
    assert!(about.len() >= 8 && about.values().all(|rows| *rows > 0), "{about:?}");
    let erasure = f.store.delete_user(&tenant(), &ada, &[model("m1")], NOW + 1).await.unwrap();
    assert_eq!(erasure, Erasure::Erased);
    for text in traces {
        assert!(!f.holds(text).await, "{text:?} is still there");
    }
    for text in kept {
        assert!(f.holds(text).await, "{text:?} is gone");
    }
    let left = f.rows_about(&ada).await;
    assert!(left.len() == about.len() && left.values().all(|rows| *rows == 0), "{left:?}");

    let left = f.store.get_embeddings(&tenant(), "lexical", &contents).await.unwrap();
    assert_eq!(left, [None, None, Some(vec![1.0])]);
    assert_eq!(f.store.dataset(&tenant(), &set).await.unwrap().unwrap().rows, 1);
    assert_eq!(f.store.model(&tenant(), &model("m1")).await.unwrap().unwrap().erased_users, 1);
    assert_eq!(f.store.user(&tenant(), &ada, &model("m1")).await.unwrap(), None);
    let recall =
        f.store.recall(&tenant(), Some(&ada), key.method, key.request_id, &[1; 32], NOW).await.unwrap();
    assert_eq!(recall, Recall::New);
    let erased = f.store.erased_among(&tenant(), [&ada, &bob]).await.unwrap();
    assert_eq!(erased, [ada].into());
}

async fn erasure_is_idempotent_for_a_day(f: &Fixture) {
    let ada = user("ada");
    assert_eq!(f.store.delete_user(&tenant(), &ada, &[], NOW).await.unwrap(), Erasure::NotFound);
    f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    assert_eq!(f.store.delete_user(&tenant(), &ada, &[], NOW).await.unwrap(), Erasure::Erased);
    let later = async |now| f.store.delete_user(&tenant(), &ada, &[], now).await.unwrap();
    assert_eq!(later(NOW + DAY - 1).await, Erasure::AlreadyErased);
    assert_eq!(later(NOW + DAY).await, Erasure::NotFound);
    // Trainings leave the person out for ever.
    assert_eq!(f.store.erased_among(&tenant(), [&ada]).await.unwrap().len(), 1);
}

async fn a_late_retry_does_not_bring_an_erased_user_back(f: &Fixture) {
    let ada = user("ada");
    let query = f.ask(&ada, comparison("x", "a", "c")).await;
    let first = preference(comparison("x", "a", "b"));
    f.answer(&ada, first.clone()).await;
    f.store.delete_user(&tenant(), &ada, &[], NOW + 1).await.unwrap();

    for (expected_revision, new) in
        [(0, &first), (1, &first), (0, &answer_to(&query)), (1, &answer_to(&query))]
    {
        let retry = NewPreference { expected_revision, created: NOW + HOUR, ..new.clone() };
        let append = f.store.append_preference(&tenant(), &ada, &retry).await.unwrap();
        assert_eq!(append, Append::Erased, "{retry:?}");
        assert_eq!(f.store.user(&tenant(), &ada, &model("m1")).await.unwrap(), None);
    }
}

async fn an_erased_user_may_come_back(f: &Fixture) {
    let ada = user("ada");
    let old = preference(comparison("x", "a", "b"));
    f.answer(&ada, old.clone()).await;
    f.store.delete_user(&tenant(), &ada, &[], NOW + 1).await.unwrap();

    // A question asked since makes them anew, and its answer counts at once.
    let query = f.ask(&ada, comparison("x", "a", "d")).await;
    f.answer(&ada, NewPreference { created: NOW + HOUR, ..answer_to(&query) }).await;
    // A comparison may still be a retry from before,
    let retry = NewPreference { expected_revision: 1, created: NOW + HOUR, ..old.clone() };
    assert_eq!(f.store.append_preference(&tenant(), &ada, &retry).await.unwrap(), Append::Erased);
    // but not a day later.
    f.answer(&ada, NewPreference { created: NOW + 1 + DAY, ..old }).await;
}
