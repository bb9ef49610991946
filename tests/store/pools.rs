use pref::domain::{Candidates, ContentHash};
use pref::store::{Imported, PoolVersion};

use crate::fixture::{Fixture, NOW, pool, tenant};

crate::on_both_engines!(
    importing_twice_changes_nothing,
    a_pool_comes_back_in_the_order_of_its_import,
    a_prompt_finds_its_candidates_in_any_pool,
    a_large_import_is_one_change,
    deleting_a_pool_takes_its_embeddings,
);

fn candidates(prompt: &str, responses: &[&str]) -> Candidates {
    Candidates { prompt: prompt.to_owned(), responses: responses.iter().map(|y| (*y).to_owned()).collect() }
}

async fn importing_twice_changes_nothing(f: &Fixture) {
    let chat = pool("chat");
    assert_eq!(f.store.pool_version(&tenant(), &chat).await.unwrap(), None);
    assert_eq!(f.store.pool_candidates(&tenant(), &chat).await.unwrap(), None);
    // The second line repeats a prompt and a response of the first.
    let lines = [candidates("x", &["a", "b"]), candidates("x", &["b", ""]), candidates("y", &["a"])];
    let import = f.store.import_candidates(&tenant(), &chat, &lines, NOW).await.unwrap();
    assert_eq!(import, Imported { added: 4, duplicates: 1, revision: 1 });
    let import = f.store.import_candidates(&tenant(), &chat, &lines, NOW + 1).await.unwrap();
    assert_eq!(import, Imported { added: 0, duplicates: 5, revision: 1 });
    let import =
        f.store.import_candidates(&tenant(), &chat, &[candidates("y", &["c"])], NOW + 2).await.unwrap();
    assert_eq!(import, Imported { added: 1, duplicates: 0, revision: 2 });

    f.store.import_candidates(&tenant(), &pool("another"), &[], NOW).await.unwrap();
    let pools = f.store.list_pools(&tenant(), None, 10).await.unwrap();
    assert_eq!(pools.iter().map(|row| row.pool.as_str()).collect::<Vec<_>>(), ["another", "chat"]);
    assert_eq!((pools[1].revision, pools[1].prompts, pools[1].responses), (2, 2, 5));
    assert_eq!((pools[1].created, pools[1].updated), (NOW, NOW + 2));
    assert_eq!(f.store.list_pools(&tenant(), Some(&pools[0].pool), 10).await.unwrap(), pools[1..]);
}

async fn a_pool_comes_back_in_the_order_of_its_import(f: &Fixture) {
    let chat = pool("chat");
    let lines = [candidates("x", &["z", "", "m", "a"]), candidates("y", &["only one"])];
    f.store.import_candidates(&tenant(), &chat, &lines, NOW).await.unwrap();
    let (version, mut stored) = f.store.pool_candidates(&tenant(), &chat).await.unwrap().unwrap();
    assert_eq!(version, PoolVersion { created: NOW, revision: 1 });
    stored.sort_by(|one, other| one.prompt.cmp(&other.prompt));
    assert_eq!(stored, lines);
}

async fn a_prompt_finds_its_candidates_in_any_pool(f: &Fixture) {
    let (one, two) = (pool("one"), pool("two"));
    f.store.import_candidates(&tenant(), &one, &[candidates("x", &["b", "a"])], NOW).await.unwrap();
    f.store.import_candidates(&tenant(), &two, &[candidates("x", &["c", "b"])], NOW).await.unwrap();
    let of = async |pool, prompt: &str| f.store.candidates_of_prompt(&tenant(), pool, prompt).await.unwrap();
    assert_eq!(of(None, "x").await, ["b", "a", "c"]);
    assert_eq!(of(Some(&two), "x").await, ["c", "b"]);
    assert!(of(None, "y").await.is_empty());
    assert!(of(Some(&pool("three")), "x").await.is_empty());
}

async fn a_large_import_is_one_change(f: &Fixture) {
    let responses: Vec<String> = (0..150).map(|i| format!("response {i}")).collect();
    let lines: Vec<_> =
        (0..20).map(|i| Candidates { prompt: format!("prompt {i}"), responses: responses.clone() }).collect();
    let import = f.store.import_candidates(&tenant(), &pool("chat"), &lines, NOW).await.unwrap();
    assert_eq!(import, Imported { added: 3000, duplicates: 0, revision: 1 });
    let (_, stored) = f.store.pool_candidates(&tenant(), &pool("chat")).await.unwrap().unwrap();
    assert_eq!(stored.len(), 20);
    assert!(stored.iter().all(|line| line.responses == responses));
}

async fn deleting_a_pool_takes_its_embeddings(f: &Fixture) {
    let (one, two) = (pool("one"), pool("two"));
    f.store.import_candidates(&tenant(), &one, &[candidates("x", &["a", "b"])], NOW).await.unwrap();
    f.store.import_candidates(&tenant(), &two, &[candidates("x", &["b"])], NOW).await.unwrap();
    let contents = ["a", "b"].map(|response| ContentHash::new("x", response));
    f.store.put_embeddings(&tenant(), "lexical", &contents.map(|c| (c, [1.0_f32]))).await.unwrap();

    assert!(f.store.delete_pool(&tenant(), &one).await.unwrap());
    assert!(!f.store.delete_pool(&tenant(), &one).await.unwrap());
    assert_eq!(f.store.pool_candidates(&tenant(), &one).await.unwrap(), None);
    let left = f.store.get_embeddings(&tenant(), "lexical", &contents).await.unwrap();
    assert_eq!(left, [None, Some(vec![1.0])]);
    assert!(f.store.delete_pool(&tenant(), &two).await.unwrap());
    let left = f.store.get_embeddings(&tenant(), "lexical", &contents).await.unwrap();
    assert_eq!(left, [None, None]);
}
