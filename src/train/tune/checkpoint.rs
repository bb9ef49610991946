use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::TuningPoint;
use super::adamw::Parameter;
use crate::train::TrainError;

const FILE: &str = "state.safetensors";
/// The one entry of the file's metadata.
const METADATA: &str = "state";
const CURVE: &str = "curve";
const PARAMETER: &str = "parameter.";
const FIRST: &str = "first.";
const SECOND: &str = "second.";
const BEST: &str = "best.";

/// Where a training stands, whole: what is computed from it is what the training would have computed going on.
///
/// Batches are drawn by seed and epoch, so that the step says all that is random.
#[derive(Debug)]
pub(super) struct State {
    /// Steps made.
    pub(super) step: usize,
    /// θ by name.
    pub(super) parameters: BTreeMap<String, Tensor>,
    /// (m, v) by name.
    pub(super) moments: BTreeMap<String, (Tensor, Tensor)>,
    /// The backbone's part of θ where validation was best.
    pub(super) best: BTreeMap<String, Tensor>,
    /// What was seen so far.
    pub(super) curve: Vec<TuningPoint>,
}

/// The folder that a training keeps its state in, for one configuration and one dataset.
pub(super) struct Checkpoint {
    folder: PathBuf,
    identity: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: BTreeMap<String, String>,
    step: usize,
}

impl Checkpoint {
    /// In `folder`, which need not be there; `identity` is everything on which the result depends, by name.
    pub(super) fn new(folder: &Path, identity: BTreeMap<String, String>) -> Self {
        Self { folder: folder.to_owned(), identity }
    }

    /// Writes the state beside the last one and puts it in its place: whatever stops this half-way, one of the two is
    /// whole.
    pub(super) fn save(&self, state: &State) -> Result<(), TrainError> {
        let header = Header { identity: self.identity.clone(), step: state.step };
        let header = serde_json::to_string(&header).map_err(|error| self.error(error))?;
        let metadata = HashMap::from([(METADATA.to_owned(), header)]);
        let curve = state.curve.iter().flat_map(TuningPoint::numbers).collect::<Vec<f64>>();
        let curve = Tensor::from_vec(curve, (state.curve.len(), TuningPoint::NUMBERS), &Device::Cpu)?;
        let mut tensors = BTreeMap::from([(CURVE.to_owned(), &curve)]);
        tensors.extend(state.parameters.iter().map(|(name, tensor)| (format!("{PARAMETER}{name}"), tensor)));
        tensors.extend(state.best.iter().map(|(name, tensor)| (format!("{BEST}{name}"), tensor)));
        for (name, (m, v)) in &state.moments {
            tensors.insert(format!("{FIRST}{name}"), m);
            tensors.insert(format!("{SECOND}{name}"), v);
        }
        let partial = self.folder.join(format!("{FILE}.partial"));
        fs::create_dir_all(&self.folder).map_err(|error| self.error(error))?;
        safetensors::serialize_to_file(tensors, Some(metadata), &partial)
            .map_err(|error| self.error(error))?;
        fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(|error| self.error(error))?;
        fs::rename(&partial, self.folder.join(FILE)).map_err(|error| self.error(error))
    }

    /// The state of an earlier run of the same `parameters`, on `device`; nothing where there was none.
    ///
    /// # Errors
    /// A state of another configuration or of other data, a damaged file.
    pub(super) fn load(
        &self,
        parameters: &[Parameter],
        device: &Device,
    ) -> Result<Option<State>, TrainError> {
        let bytes = match fs::read(self.folder.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| self.error(error))?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA));
        let header = header.ok_or_else(|| self.error("it has no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|error| self.error(error))?;
        for (field, now) in &self.identity {
            let then = header.identity.get(field).map_or("nothing", String::as_str);
            if then != now {
                return Err(TrainError::ForeignCheckpoint {
                    path: self.folder.clone(),
                    field: field.clone(),
                    then: then.to_owned(),
                    now: now.clone(),
                });
            }
        }
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, device)?;
        let mut take = |part: &str, name: &str, shape: Option<&[usize]>| {
            let tensor = tensors.remove(&format!("{part}{name}"));
            tensor
                .filter(|tensor| shape.is_none_or(|shape| tensor.dims() == shape))
                .ok_or_else(|| self.error(format!("{part}{name} is missing or of another shape")))
        };
        let curve = take(CURVE, "", None)?.to_vec2::<f64>()?;
        let curve: Vec<_> = curve.iter().filter_map(|row| TuningPoint::of_numbers(row)).collect();
        if curve.is_empty() {
            return Err(self.error(format!("{CURVE} is empty")));
        }
        let (mut values, mut moments, mut best) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for Parameter { name, variable, in_backbone, .. } in parameters {
            let shape = Some(variable.dims());
            values.insert(name.clone(), take(PARAMETER, name, shape)?);
            moments.insert(name.clone(), (take(FIRST, name, shape)?, take(SECOND, name, shape)?));
            if *in_backbone {
                best.insert(name.clone(), take(BEST, name, shape)?);
            }
        }
        Ok(Some(State { step: header.step, parameters: values, moments, best, curve }))
    }

    /// Forgets the state, once what it led to is kept elsewhere or is not wanted.
    pub(super) fn remove(&self) -> Result<(), TrainError> {
        for file in [FILE.to_owned(), format!("{FILE}.partial")] {
            match fs::remove_file(self.folder.join(file)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        // A folder with other things in it stays.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    fn error(&self, reason: impl std::fmt::Display) -> TrainError {
        TrainError::Checkpoint { path: self.folder.clone(), reason: reason.to_string() }
    }
}
