use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Adapter, Backbone, BackboneOptions, BackboneRecord, ModelError, open_backbone, open_tuned};

/// The backbones that are open, so that heads trained on the same one share its weights: while a tenant is changed over
/// to a newly trained model, memory holds two heads and one backbone.
///
/// A backbone is kept only as long as a model has it.
#[derive(Default)]
pub struct OpenBackbones {
    by_hash: Mutex<HashMap<String, Weak<dyn Backbone>>>,
}

impl OpenBackbones {
    /// The backbone that a manifest names, tuned by the artifact's adapter where it has one. One at a time is opened, so that
    /// none is opened twice.
    pub fn open(
        &self,
        record: &BackboneRecord,
        adapter: Option<&Adapter>,
        options: &BackboneOptions,
    ) -> Result<Arc<dyn Backbone>, ModelError> {
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backbone) = by_hash.get(&record.hash).and_then(Weak::upgrade) {
            return Ok(backbone);
        }
        let options = BackboneOptions {
            template: record.template.clone(),
            dtype: record.dtype.unwrap_or_default(),
            ..options.clone()
        };
        let backbone = match adapter {
            Some(adapter) => open_tuned(&record.spec, &options, adapter)?,
            None => open_backbone(&record.spec, &options)?,
        };
        by_hash.retain(|_, backbone| backbone.strong_count() > 0);
        by_hash.insert(backbone.hash().to_owned(), Arc::downgrade(&backbone));
        Ok(backbone)
    }
}
