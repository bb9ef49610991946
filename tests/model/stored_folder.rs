//! A backbone's folder in an object store, here one that is a directory.

use std::fs;
use std::path::Path;

use pref::model::{BackboneOptions, Text, open_backbone};

use crate::encoder::options;
use crate::made_decoder::made_decoder;

fn copies(cache: &Path) -> Vec<String> {
    let folders = fs::read_dir(cache.join("object-stores")).unwrap();
    folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_folder_is_copied_once_for_each_state_and_is_the_same_backbone() {
    let (bucket, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = bucket.path().join("models/tiny");
    fs::create_dir_all(&folder).unwrap();
    made_decoder(&folder);
    fs::write(folder.join("README.md"), "not wanted").unwrap();
    let url = format!("file://{}", folder.display());
    let options = BackboneOptions { cache_dir: Some(cache.path().to_owned()), ..options() };

    let stored = open_backbone(&url, &options).unwrap();
    let here = open_backbone(folder.to_str().unwrap(), &options).unwrap();
    assert_eq!((stored.hash(), stored.id()), (here.hash(), "tiny"));
    assert_eq!(stored.record().spec, url);
    let text = [Text::new("Sea?", "It is wide.")];
    assert_eq!(stored.embed(&text).unwrap(), here.embed(&text).unwrap());

    open_backbone(&url, &options).unwrap();
    let first = copies(cache.path());
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(!cache.path().join("object-stores").join(&first[0]).join("README.md").exists());

    let config = fs::read_to_string(folder.join("config.json")).unwrap();
    fs::write(folder.join("config.json"), config.replace("10000.0", "20000.0")).unwrap();
    assert_ne!(open_backbone(&url, &options).unwrap().hash(), stored.hash());
    assert_eq!(copies(cache.path()).len(), 2);
}

#[test]
fn a_folder_without_a_model_and_a_store_of_another_kind_are_refused() {
    let (bucket, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = BackboneOptions { cache_dir: Some(cache.path().to_owned()), ..options() };
    let refused = |url: &str| open_backbone(url, &options).err().unwrap().to_string();
    let error = refused(&format!("file://{}", bucket.path().display()));
    assert!(error.contains("holds no settings and no weights"), "{error}");
    let error = refused("ftp://example.org/model");
    assert!(error.contains("ftp://example.org/model"), "{error}");
    assert!(!cache.path().join("object-stores").exists(), "nothing is left behind");
}
