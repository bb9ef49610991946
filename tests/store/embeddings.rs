use pref::domain::{ContentHash, TenantId};

use crate::fixture::{Fixture, tenant};

crate::on_both_engines!(embeddings_come_back_in_the_order_asked, embeddings_are_kept_by_tenant_and_backbone);

async fn embeddings_come_back_in_the_order_asked(f: &Fixture) {
    assert_eq!(
        f.store.get_embeddings(&tenant(), "lexical", &[]).await.unwrap(),
        Vec::<Option<Vec<f32>>>::new()
    );
    // More than two batches; every third is stored, each twice in the question.
    let contents: Vec<_> = (0..200).map(|i| ContentHash::new("x", &i.to_string())).collect();
    let vector = |i: usize| vec![i as f32, -0.5, f32::MIN_POSITIVE];
    let stored: Vec<_> = (0..200).step_by(3).map(|i| (contents[i], vector(i))).collect();
    f.store.put_embeddings(&tenant(), "lexical", &stored).await.unwrap();
    let asked: Vec<_> = (0..200).rev().chain(0..200).map(|i| contents[i]).collect();
    let found = f.store.get_embeddings(&tenant(), "lexical", &asked).await.unwrap();
    let expected: Vec<_> = (0..200).rev().chain(0..200).map(|i| (i % 3 == 0).then(|| vector(i))).collect();
    assert_eq!(found, expected);
}

async fn embeddings_are_kept_by_tenant_and_backbone(f: &Fixture) {
    let content = ContentHash::new("x", "y");
    f.store.put_embeddings(&tenant(), "lexical", &[(content, [1.0])]).await.unwrap();
    // The first one stays.
    f.store.put_embeddings(&tenant(), "lexical", &[(content, [2.0])]).await.unwrap();
    f.store.put_embeddings(&tenant(), "minilm", &[(content, [3.0, 4.0])]).await.unwrap();
    let get = async |tenant: &TenantId, backbone: &str| {
        f.store.get_embeddings(tenant, backbone, &[content]).await.unwrap().remove(0)
    };
    assert_eq!(get(&tenant(), "lexical").await, Some(vec![1.0]));
    assert_eq!(get(&tenant(), "minilm").await, Some(vec![3.0, 4.0]));
    assert_eq!(get(&tenant(), "qwen2").await, None);
    assert_eq!(get(&TenantId::parse("other").unwrap(), "lexical").await, None);
}
