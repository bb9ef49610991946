use pref::domain::{DatasetId, Judgment};
use pref::store::Imported;

use crate::fixture::{Fixture, NOW, comparison, tenant, user};

crate::on_both_engines!(sending_lines_again_is_harmless, lines_page_in_an_order_of_their_own);

fn line(name: &str, b: &str, preference: f64) -> Judgment {
    Judgment {
        user_id: user(name),
        comparison: comparison("x", "a", b),
        preference,
        group: "topic".to_owned(),
    }
}

async fn sending_lines_again_is_harmless(f: &Fixture) {
    let set = DatasetId::parse("set").unwrap();
    assert_eq!(f.store.dataset(&tenant(), &set).await.unwrap(), None);
    let lines = [line("ada", "b", 1.0), line("ada", "b", 0.5), line("bob", "b", 1.0), line("ada", "b", 1.0)];
    let import = f.store.append_dataset(&tenant(), &set, &lines, NOW).await.unwrap();
    assert_eq!(import, Imported { added: 3, duplicates: 1, revision: 3 });
    let import = f.store.append_dataset(&tenant(), &set, &lines, NOW + 1).await.unwrap();
    assert_eq!(import, Imported { added: 0, duplicates: 4, revision: 3 });
    let row = f.store.dataset(&tenant(), &set).await.unwrap().unwrap();
    assert_eq!((row.rows, row.created, row.updated), (3, NOW, NOW));
}

async fn lines_page_in_an_order_of_their_own(f: &Fixture) {
    let lines: Vec<_> = (0..150).map(|i| line("ada", &i.to_string(), f64::from(i) / 149.0)).collect();
    let mut pages = Vec::new();
    for (name, order) in [("one", lines.clone()), ("two", lines.iter().rev().cloned().collect())] {
        let set = DatasetId::parse(name).unwrap();
        f.store.append_dataset(&tenant(), &set, &order, NOW).await.unwrap();
        let mut read = Vec::new();
        let mut after = None;
        loop {
            let page = f.store.dataset_lines(&tenant(), &set, after.as_ref(), 40).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.0);
            read.extend(page.into_iter().map(|(_, line)| line));
        }
        pages.push(read);
    }
    assert_eq!(pages[0], pages[1]);
    let by_preference = |one: &Judgment, other: &Judgment| one.preference.total_cmp(&other.preference);
    pages[0].sort_by(by_preference);
    assert_eq!(pages[0], lines);
}
