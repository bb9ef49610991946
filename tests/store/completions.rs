use pref::domain::CompletionId;
use pref::store::ChoiceRow;

use crate::fixture::{DAY, Fixture, HOUR, NOW, comparison, model, preference, tenant, user};

crate::on_both_engines!(
    a_choice_is_found_by_whom_it_was_given_to_until_its_time_is_over,
    choices_are_listed_by_completion_and_place,
    of_somebody_erased_meanwhile_no_choice_is_kept,
);

/// Under model `m1`, asked for now, kept for a day.
pub(crate) fn choice(completion_id: CompletionId, choice: u32, response: &str) -> ChoiceRow {
    ChoiceRow {
        completion_id,
        choice,
        prompt: "x \u{1F980}".to_owned(),
        response: response.to_owned(),
        model_version: model("m1"),
        features: vec![f64::from(choice), f64::MIN_POSITIVE],
        created: NOW,
        expires: NOW + DAY,
    }
}

async fn a_choice_is_found_by_whom_it_was_given_to_until_its_time_is_over(f: &Fixture) {
    let (ada, id) = (user("ada"), CompletionId::random());
    let given = [choice(id, 0, ""), choice(id, 1, "b\n")];
    assert!(f.store.save_choices(&tenant(), &ada, &given, NOW).await.unwrap());
    let find = async |name: &str, id, choice, now| {
        f.store.choice(&tenant(), &user(name), id, choice, now).await.unwrap()
    };
    assert_eq!(find("ada", id, 1, NOW).await.as_ref(), Some(&given[1]));
    assert_eq!(find("ada", id, 0, NOW + DAY - 1).await.as_ref(), Some(&given[0]));
    assert_eq!(find("ada", id, 0, NOW + DAY).await, None);
    assert_eq!(find("ada", id, 2, NOW).await, None);
    assert_eq!(find("bob", id, 0, NOW).await, None);
    assert_eq!(find("ada", CompletionId::random(), 0, NOW).await, None);
    assert_eq!(f.store.user(&tenant(), &ada, &model("m1")).await.unwrap(), None, "reading makes nobody");

    assert_eq!(f.store.sweep(NOW + DAY - 1).await.unwrap().choices, 0);
    assert_eq!(f.store.sweep(NOW + DAY).await.unwrap().choices, 2);
    assert_eq!(find("ada", id, 0, NOW).await, None);
}

async fn choices_are_listed_by_completion_and_place(f: &Fixture) {
    let ada = user("ada");
    let mut ids = [CompletionId::random(), CompletionId::random()];
    ids.sort_by_key(|id| id.to_string());
    for id in [ids[1], ids[0]] {
        let given = [choice(id, 1, "b"), choice(id, 0, "a")];
        f.store.save_choices(&tenant(), &ada, &given, NOW).await.unwrap();
    }
    f.store.save_choices(&tenant(), &user("bob"), &[choice(ids[0], 0, "bob's")], NOW).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = f.store.all_choices(&tenant(), &ada, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.completion_id, last.choice));
        found.extend(page.iter().map(|row| (row.completion_id, row.choice)));
    }
    assert_eq!(found, [(ids[0], 0), (ids[0], 1), (ids[1], 0), (ids[1], 1)]);
}

async fn of_somebody_erased_meanwhile_no_choice_is_kept(f: &Fixture) {
    let (ada, id) = (user("ada"), CompletionId::random());
    f.answer(&ada, preference(comparison("x", "a", "b"))).await;
    f.store.delete_user(&tenant(), &ada, &[], NOW + HOUR).await.unwrap();
    let on_its_way = [choice(id, 0, "a")];
    assert!(!f.store.save_choices(&tenant(), &ada, &on_its_way, NOW).await.unwrap());
    assert_eq!(f.store.all_choices(&tenant(), &ada, None, 9).await.unwrap(), []);
    // Asked for since, it may be.
    let since = NOW + HOUR + 1;
    let later = [ChoiceRow { created: since, ..choice(id, 0, "a") }];
    assert!(f.store.save_choices(&tenant(), &ada, &later, since).await.unwrap());
}
