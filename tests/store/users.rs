use pref::domain::{TenantId, UserId};
use pref::store::{Asking, AskingPerson, NewPreference, StoredPosterior, UnixMillis};

use crate::fixture::{DAY, Fixture, HOUR, NOW, answer_to, comparison, model, preference, tenant, user};

crate::on_both_engines!(
    an_unknown_user_is_nothing,
    users_are_made_once_and_list_in_pages,
    tenants_are_apart,
    asking_knows_what_was_seen_and_what_is_open,
    a_refit_replaces_only_an_older_one,
    users_lag_until_they_are_refitted,
);

async fn an_unknown_user_is_nothing(f: &Fixture) {
    let ada = user("ada");
    assert_eq!(f.store.user(&tenant(), &ada, &model("m1")).await.unwrap(), None);
    assert_eq!(f.store.user_snapshot(&tenant(), &ada, &model("m1")).await.unwrap(), None);
    assert_eq!(asked(f, &ada, NOW).await, None);
    assert_eq!(f.store.list_preferences(&tenant(), &ada, 0, 10).await.unwrap(), []);
}

async fn users_are_made_once_and_list_in_pages(f: &Fixture) {
    // In the order of bytes, on both engines.
    let names = ["Zoë", "ada", "bob", "émile"];
    for name in names.iter().rev() {
        assert_eq!(f.store.ensure_user(&tenant(), &user(name), NOW).await.unwrap(), 0);
    }
    f.answer(&user("bob"), NewPreference { created: NOW + 5, ..preference(comparison("x", "a", "b")) }).await;
    assert_eq!(f.store.ensure_user(&tenant(), &user("bob"), NOW + 9).await.unwrap(), 1);

    let first = f.store.list_users(&tenant(), Some(&model("m1")), None, 3).await.unwrap();
    assert_eq!(first.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>(), names[..3]);
    let bob = &first[2];
    assert_eq!((bob.revision, bob.created, bob.updated), (1, NOW, NOW + 5));
    assert_eq!(bob.posterior.as_ref().map(|posterior| posterior.answers), Some(1));
    assert_eq!(first[1].posterior, None);
    let rest = f.store.list_users(&tenant(), None, Some(&first[2].user_id), 3).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>(), names[3..]);
}

async fn tenants_are_apart(f: &Fixture) {
    let other = TenantId::parse("other").unwrap();
    let query = f.ask(&user("ada"), comparison("x", "a", "b")).await;
    f.answer(&user("ada"), answer_to(&query)).await;
    assert_eq!(f.store.user(&other, &user("ada"), &model("m1")).await.unwrap(), None);
    assert_eq!(f.store.query(&other, &user("ada"), query.query_id).await.unwrap(), None);
    assert_eq!(f.store.list_users(&other, None, None, 10).await.unwrap(), []);
    assert_eq!(f.store.service_log(&other, NOW + DAY, None, 10).await.unwrap(), []);
    let append = f.store.append_preference(&other, &user("ada"), &answer_to(&query)).await.unwrap();
    assert_eq!(append, pref::store::Append::QueryNotFound);
}

/// What is known of a user who is to be asked.
async fn asked(f: &Fixture, user: &UserId, now: UnixMillis) -> Option<AskingPerson> {
    let asking = Asking { model: &model("m1"), pool: None, call: None, now };
    f.store.asking_snapshot(&tenant(), user, &asking).await.unwrap().person
}

async fn asking_knows_what_was_seen_and_what_is_open(f: &Fixture) {
    let ada = user("ada");
    let pairs =
        ["answered", "undone", "open", "expired", "under another model"].map(|b| comparison("x", "a", b));
    let answered = f.ask(&ada, pairs[0].clone()).await;
    f.answer(&ada, answer_to(&answered)).await;
    let undone = f.answer(&ada, preference(pairs[1].clone())).await;
    f.store.delete_preference(&tenant(), &ada, undone, 2, NOW, &[], None).await.unwrap();
    f.ask(&ada, pairs[2].clone()).await;
    let mut later = [pairs[3].clone(), pairs[4].clone()].map(crate::fixture::question);
    later[0].expires = NOW + 1;
    later[1].model_version = model("m0");
    f.store.save_queries(&tenant(), &ada, &later, None, NOW).await.unwrap();
    f.ask(&user("bob"), comparison("x", "a", "somebody else's")).await;

    let asking = asked(f, &ada, NOW + 1).await.unwrap();
    assert_eq!(asking.revision, 3);
    assert_eq!(asking.posterior.map(|posterior| posterior.revision), Some(2));
    let seen = [0, 2, 4].map(|i: usize| pairs[i].pair_key());
    assert_eq!(asking.seen, seen.into());
    assert_eq!(asking.open_deltas, [vec![1.5, -2.5]]);

    let open = f.store.open_queries(&tenant(), &ada, NOW + 1).await.unwrap();
    assert_eq!(open.len(), 2);
    let asking = asked(f, &ada, NOW + HOUR).await.unwrap();
    assert_eq!(asking.seen, [pairs[0].pair_key()].into());

    // A user who was never asked has nothing but themselves.
    f.store.ensure_user(&tenant(), &user("eve"), NOW).await.unwrap();
    let eve = asked(f, &user("eve"), NOW).await.unwrap();
    assert_eq!((eve.revision, eve.posterior, eve.seen.len(), eve.open_deltas.len()), (0, None, 0, 0));
}

async fn a_refit_replaces_only_an_older_one(f: &Fixture) {
    let ada = user("ada");
    f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    f.answer(&ada, preference(comparison("x", "a", "c"))).await;
    let fit = |revision, answers| StoredPosterior {
        revision,
        answers,
        coefficients: vec![3.0],
        hessian: vec![4.0],
    };
    let deltas = [(1, vec![1.0]), (2, vec![2.0]), (7, vec![7.0])];
    f.store.put_posterior(&tenant(), &ada, &model("m2"), NOW, &fit(2, 2), &deltas).await.unwrap();
    let old = fit(1, 1);
    f.store.put_posterior(&tenant(), &ada, &model("m2"), NOW, &old, &[]).await.unwrap();

    let snapshot = f.store.user_snapshot(&tenant(), &ada, &model("m2")).await.unwrap().unwrap();
    assert_eq!(snapshot.posterior, Some(fit(2, 2)));
    let deltas: Vec<_> = snapshot.answers.into_iter().map(|answer| answer.delta).collect();
    assert_eq!(deltas, [Some(vec![1.0]), Some(vec![2.0])]);

    // Nor one of somebody who came again one of who they were before.
    let newer = fit(3, 3);
    f.store.put_posterior(&tenant(), &ada, &model("m2"), NOW - 1, &newer, &[(1, vec![9.0])]).await.unwrap();
    let again = f.store.user_snapshot(&tenant(), &ada, &model("m2")).await.unwrap().unwrap();
    assert_eq!((again.posterior, &again.answers[0].delta), (Some(fit(2, 2)), &Some(vec![1.0])));

    // Of a user who is not there it makes nothing.
    f.store.put_posterior(&tenant(), &user("bob"), &model("m2"), NOW, &old, &[]).await.unwrap();
    assert_eq!(f.store.user(&tenant(), &user("bob"), &model("m2")).await.unwrap(), None);
}

async fn users_lag_until_they_are_refitted(f: &Fixture) {
    for name in ["ada", "bob", "eve"] {
        f.answer(&user(name), preference(comparison("x", "a", "b"))).await;
    }
    f.store.ensure_user(&tenant(), &user("never answered"), NOW).await.unwrap();
    assert_eq!(f.store.lagging_users(&tenant(), &model("m1"), None, 10).await.unwrap(), []);
    let lagging = f.store.lagging_users(&tenant(), &model("m2"), None, 2).await.unwrap();
    assert_eq!(lagging, [user("ada"), user("bob")]);
    let lagging = f.store.lagging_users(&tenant(), &model("m2"), Some(&user("bob")), 2).await.unwrap();
    assert_eq!(lagging, [user("eve")]);

    let fit = StoredPosterior { revision: 1, answers: 1, coefficients: vec![3.0], hessian: vec![4.0] };
    for name in ["ada", "bob", "eve"] {
        f.store.put_posterior(&tenant(), &user(name), &model("m2"), NOW, &fit, &[]).await.unwrap();
    }
    assert_eq!(f.store.lagging_users(&tenant(), &model("m2"), None, 10).await.unwrap(), []);
    f.answer(&user("bob"), preference(comparison("x", "a", "c"))).await;
    assert_eq!(f.store.lagging_users(&tenant(), &model("m2"), None, 10).await.unwrap(), [user("bob")]);
}
