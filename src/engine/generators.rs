use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use super::{Engine, EngineError};
use crate::domain::{Invalid, PoolName};
use crate::generate::{Generator, LocalGenerator};

/// Where completions come from, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub enum GeneratorName {
    /// The server's first language model, or any pool where it has none.
    #[default]
    Default,
    /// The stored candidates of the prompt, whichever pools hold them.
    AnyPool,
    /// The stored candidates of the prompt in one pool.
    Pool(PoolName),
    /// A language model of the server's, by its name.
    LanguageModel(String),
}

impl GeneratorName {
    /// Takes `pool`, `pool:NAME`, a language model's name, or nothing.
    pub fn parse(name: &str) -> Result<Self, EngineError> {
        match name {
            "" => Ok(Self::Default),
            "pool" => Ok(Self::AnyPool),
            _ => match name.split_once(':') {
                Some(("pool", pool)) => {
                    let pool = PoolName::parse(pool)
                        .map_err(|error| Invalid { field: "generator".to_owned(), ..error })?;
                    Ok(Self::Pool(pool))
                }
                _ => Ok(Self::LanguageModel(name.to_owned())),
            },
        }
    }
}

/// The language models that this server writes with: named from the start, and there once they are loaded.
pub(super) struct Generators {
    /// The first is the default.
    names: Vec<String>,
    loaded: RwLock<HashMap<String, Arc<dyn Generator>>>,
}

/// What a name stands for on this server.
pub(super) enum Resolved {
    LanguageModel(Arc<dyn Generator>),
    /// Nothing: any pool.
    Pool(Option<PoolName>),
}

impl Generators {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, loaded: RwLock::default() }
    }

    pub(super) fn resolve(&self, name: &GeneratorName) -> Result<Resolved, EngineError> {
        let name = match name {
            GeneratorName::AnyPool => return Ok(Resolved::Pool(None)),
            GeneratorName::Pool(pool) => return Ok(Resolved::Pool(Some(pool.clone()))),
            GeneratorName::Default => match self.names.first() {
                Some(name) => name,
                None => return Ok(Resolved::Pool(None)),
            },
            GeneratorName::LanguageModel(name) => name,
        };
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        match loaded.get(name) {
            Some(generator) => Ok(Resolved::LanguageModel(generator.clone())),
            None if self.names.contains(name) => Err(EngineError::GeneratorNotResident(name.clone())),
            None => {
                let names: String = self.names.iter().map(|name| format!(", {name}")).collect();
                let allowed = format!("pool, pool:NAME{names}");
                Err(Invalid::new("generator", format!("{name:?}"), allowed).into())
            }
        }
    }
}

impl Engine {
    /// From now on `generator` writes under this name, one of those that the engine was told.
    pub fn install_generator(&self, name: &str, generator: Arc<dyn Generator>) {
        let mut loaded = self.shared.generators.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(name.to_owned(), generator);
        drop(loaded);
        tracing::info!(generator = name, "language model writes");
        self.models().announce_again();
    }

    /// Refuses what is not the name of a language model in this process. One that is still being loaded may be.
    pub(super) fn check_writes_here(&self, name: &str) -> Result<(), EngineError> {
        match self.local_generator(name) {
            Ok(_) | Err(EngineError::GeneratorNotResident(_)) => Ok(()),
            Err(error) => Err(error.within("value_head")),
        }
    }

    /// The language model in this process that has this name.
    pub(super) fn local_generator(&self, name: &str) -> Result<LocalGenerator, EngineError> {
        let resolved = self.shared.generators.resolve(&GeneratorName::LanguageModel(name.to_owned()))?;
        let local = match &resolved {
            Resolved::LanguageModel(generator) => generator.local(),
            Resolved::Pool(_) => None,
        };
        local.cloned().ok_or_else(|| {
            let allowed = "a language model of the server's own (local:), whose hidden states can be read";
            Invalid::new("generator", format!("{name:?}"), allowed).into()
        })
    }

    /// Whether every language model that the engine was told of is there.
    pub fn generators_are_resident(&self) -> bool {
        let Generators { names, loaded } = &self.shared.generators;
        let loaded = loaded.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().all(|name| loaded.contains_key(name))
    }
}
