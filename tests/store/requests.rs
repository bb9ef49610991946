use pref::domain::RequestId;
use pref::store::Recall;

use crate::fixture::{DAY, Fixture, NOW, request, tenant, user};

crate::on_both_engines!(
    a_reply_is_kept_under_tenant_user_method_and_id,
    a_reply_is_kept_until_its_time_is_over,
);

async fn a_reply_is_kept_under_tenant_user_method_and_id(f: &Fixture) {
    let ada = user("ada");
    let first = request(RequestId::random(), 1, "reply");
    assert_eq!(f.store.remember(&tenant(), Some(&ada), &first).await.unwrap(), Recall::New);
    let replayed = Recall::Replayed(b"reply".to_vec());
    assert_eq!(f.store.remember(&tenant(), Some(&ada), &first).await.unwrap(), replayed);

    let recall = async |user: Option<&pref::domain::UserId>, method: &str, id: RequestId, body: u8| {
        f.store.recall(&tenant(), user, method, id, &[body; 32], NOW).await.unwrap()
    };
    assert_eq!(recall(Some(&ada), "NextQuery", first.request_id, 1).await, replayed);
    assert_eq!(recall(Some(&ada), "NextQuery", first.request_id, 2).await, Recall::RequestIdReused);
    assert_eq!(recall(Some(&ada), "Train", first.request_id, 1).await, Recall::New);
    assert_eq!(recall(Some(&user("bob")), "NextQuery", first.request_id, 1).await, Recall::New);
    assert_eq!(recall(None, "NextQuery", first.request_id, 1).await, Recall::New);
    assert_eq!(recall(Some(&ada), "NextQuery", RequestId::random(), 1).await, Recall::New);
}

async fn a_reply_is_kept_until_its_time_is_over(f: &Fixture) {
    let first = request(RequestId::random(), 1, "reply");
    f.store.remember(&tenant(), None, &first).await.unwrap();
    let recall = async |now| {
        f.store.recall(&tenant(), None, first.method, first.request_id, &[1; 32], now).await.unwrap()
    };
    assert_eq!(recall(NOW + DAY - 1).await, Recall::Replayed(b"reply".to_vec()));
    assert_eq!(recall(NOW + DAY).await, Recall::New);

    // Its id may be taken again, even where nobody has swept up yet.
    let mut second = request(first.request_id, 2, "second reply");
    (second.created, second.expires) = (NOW + DAY, NOW + 2 * DAY);
    assert_eq!(f.store.remember(&tenant(), None, &second).await.unwrap(), Recall::New);
    assert_eq!(f.store.sweep(NOW + DAY).await.unwrap().requests, 0);
    assert_eq!(f.store.sweep(NOW + 2 * DAY).await.unwrap().requests, 1);
}
