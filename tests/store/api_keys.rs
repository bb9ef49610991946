//! Keys of callers.

use pref::domain::{ApiKey, Scopes, TenantId};
use pref::store::{ApiKeyRow, StoreError};

use crate::fixture::{Fixture, NOW};

crate::on_both_engines!(a_key_is_kept_as_its_hash_and_revoked_once, keys_are_listed_by_tenant_in_order);

fn row(key: &ApiKey, tenant: &str, created: i64) -> ApiKeyRow {
    ApiKeyRow {
        key_id: key.id().to_owned(),
        tenant: TenantId::parse(tenant).unwrap(),
        hash: key.digest(),
        scopes: Scopes::parse("read,admin").unwrap(),
        label: "a label".to_owned(),
        created,
        expires: Some(created + 1),
        revoked: None,
    }
}

async fn a_key_is_kept_as_its_hash_and_revoked_once(f: &Fixture) {
    let key = ApiKey::generate();
    let row = row(&key, "one", NOW);
    f.store.create_api_key(&row).await.unwrap();
    assert_eq!(f.store.api_key(key.id()).await.unwrap(), Some(row.clone()));
    assert_eq!(f.store.api_key("0000").await.unwrap(), None);
    assert!(f.holds("a label").await && f.holds(key.id()).await, "the scan sees what is there");
    let secret = key.expose().rsplit('_').next().unwrap();
    assert!(!f.holds(secret).await && !f.holds(key.expose()).await, "the key itself is kept");
    // An id names one key for good.
    assert!(matches!(f.store.create_api_key(&row).await, Err(StoreError::Internal(_))));

    assert!(f.store.revoke_api_key(key.id(), NOW + 5).await.unwrap());
    assert!(f.store.revoke_api_key(key.id(), NOW + 6).await.unwrap());
    assert_eq!(f.store.api_key(key.id()).await.unwrap().unwrap().revoked, Some(NOW + 5));
    assert!(!f.store.revoke_api_key("0000", NOW).await.unwrap());
}

async fn keys_are_listed_by_tenant_in_order(f: &Fixture) {
    let keys = [ApiKey::generate(), ApiKey::generate(), ApiKey::generate()];
    let rows = [row(&keys[0], "one", NOW + 2), row(&keys[1], "two", NOW), row(&keys[2], "one", NOW + 1)];
    for row in &rows {
        f.store.create_api_key(row).await.unwrap();
    }
    let [last, first, middle] = rows;
    assert_eq!(f.store.list_api_keys(None).await.unwrap(), [first, middle.clone(), last.clone()]);
    let one = TenantId::parse("one").unwrap();
    assert_eq!(f.store.list_api_keys(Some(&one)).await.unwrap(), [middle, last]);
}
