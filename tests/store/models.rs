use pref::domain::{ModelVersion, TenantId};
use pref::store::{ModelState, ServingRow, StoreError};

use crate::fixture::{Fixture, NOW, model, tenant};

crate::on_both_engines!(
    a_model_is_registered_once,
    own_and_shared_models_are_listed_and_others_are_not,
    activation_goes_through_its_states,
    the_last_activation_asked_for_wins,
);

async fn a_model_is_registered_once(f: &Fixture) {
    let m1 = model("m1");
    assert_eq!(f.store.model(&tenant(), &m1).await.unwrap(), None);
    assert!(f.store.register_model(Some(&tenant()), &m1, "{}", "models/m1", NOW).await.unwrap());
    assert!(
        !f.store.register_model(Some(&tenant()), &m1, "{\"other\": 1}", "elsewhere", NOW + 1).await.unwrap()
    );
    let row = f.store.model(&tenant(), &m1).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.manifest.as_str(), row.location.as_str()),
        (ModelState::Ready, "{}", "models/m1")
    );
    assert_eq!((row.owner, row.created, row.changed), (Some(tenant()), NOW, NOW));
}

async fn own_and_shared_models_are_listed_and_others_are_not(f: &Fixture) {
    let other = TenantId::parse("other").unwrap();
    for (owner, version) in [
        (None, "shared"),
        (None, "hidden"),
        (Some(&tenant()), "hidden"),
        (Some(&tenant()), "own"),
        (Some(&other), "theirs"),
    ] {
        let location = owner.map_or("shared", TenantId::as_str);
        f.store.register_model(owner, &model(version), "{}", location, NOW).await.unwrap();
    }
    let versions = async |tenant: &TenantId| -> Vec<(String, Option<TenantId>)> {
        let models = f.store.list_models(tenant, None, 10).await.unwrap();
        models.into_iter().map(|row| (row.model_version.to_string(), row.owner)).collect()
    };
    let own = |version: &str| (version.to_owned(), Some(tenant()));
    assert_eq!(versions(&tenant()).await, [own("hidden"), own("own"), ("shared".to_owned(), None)]);
    let page = f.store.list_models(&tenant(), Some(&model("hidden")), 1).await.unwrap();
    assert_eq!(page[0].model_version, model("own"));
    assert_eq!(f.store.model(&tenant(), &model("hidden")).await.unwrap().unwrap().owner, Some(tenant()));
    assert_eq!(f.store.model(&other, &model("hidden")).await.unwrap().unwrap().owner, None);
    assert_eq!(f.store.model(&tenant(), &model("theirs")).await.unwrap(), None);
}

async fn activation_goes_through_its_states(f: &Fixture) {
    for version in ["m1", "m2"] {
        f.store.register_model(Some(&tenant()), &model(version), "{}", "", NOW).await.unwrap();
    }
    let missing = f.store.begin_activation(&tenant(), &model("m3"), NOW).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "model", .. })), "{missing:?}");
    assert!(!f.store.finish_activation(&tenant(), &model("m1"), NOW).await.unwrap());

    assert!(f.store.begin_activation(&tenant(), &model("m1"), NOW).await.unwrap());
    assert!(f.store.finish_activation(&tenant(), &model("m1"), NOW + 1).await.unwrap());
    assert!(!f.store.begin_activation(&tenant(), &model("m1"), NOW + 2).await.unwrap());

    assert!(f.store.begin_activation(&tenant(), &model("m2"), NOW + 2).await.unwrap());
    // Asking again is harmless: that is how another replica takes an activation up.
    assert!(f.store.begin_activation(&tenant(), &model("m2"), NOW + 2).await.unwrap());
    assert_eq!(serving(f).await, [(model("m1"), ModelState::Active), (model("m2"), ModelState::Activating)]);
    assert!(f.store.finish_activation(&tenant(), &model("m2"), NOW + 3).await.unwrap());
    assert_eq!(serving(f).await, [(model("m2"), ModelState::Active)]);
    let row = f.store.model(&tenant(), &model("m1")).await.unwrap().unwrap();
    assert_eq!((row.state, row.changed), (ModelState::Retired, NOW + 3));

    // And back.
    assert!(f.store.begin_activation(&tenant(), &model("m1"), NOW + 4).await.unwrap());
    assert!(f.store.finish_activation(&tenant(), &model("m1"), NOW + 5).await.unwrap());
    let all = f.store.all_serving_models().await.unwrap();
    let m1 = ServingRow {
        tenant: tenant(),
        model_version: model("m1"),
        state: ModelState::Active,
        changed: NOW + 5,
    };
    assert_eq!(all, [m1]);
}

async fn serving(f: &Fixture) -> Vec<(ModelVersion, ModelState)> {
    let rows = f.store.serving_models(&tenant()).await.unwrap();
    rows.into_iter().map(|row| (row.model_version, row.state)).collect()
}

async fn the_last_activation_asked_for_wins(f: &Fixture) {
    for version in ["m1", "m2"] {
        f.store.register_model(None, &model(version), "{}", "", NOW).await.unwrap();
    }
    f.store.begin_activation(&tenant(), &model("m1"), NOW).await.unwrap();
    f.store.begin_activation(&tenant(), &model("m2"), NOW).await.unwrap();
    assert!(!f.store.finish_activation(&tenant(), &model("m1"), NOW).await.unwrap());
    assert!(f.store.finish_activation(&tenant(), &model("m2"), NOW).await.unwrap());
    assert_eq!(f.store.model(&tenant(), &model("m1")).await.unwrap().unwrap().state, ModelState::Ready);
    // A shared model stands differently with another tenant.
    let other = TenantId::parse("other").unwrap();
    assert_eq!(f.store.model(&other, &model("m2")).await.unwrap().unwrap().state, ModelState::Ready);
}
