//! The `model` room from outside: encoders and causal models against reference figures, artifacts and every way to damage them, and the
//! resident model's queue.

#[path = "../support/skip.rs"]
mod skip;

#[path = "../support/made_decoder.rs"]
mod made_decoder;

#[path = "../support/mutate.rs"]
mod mutate;

#[path = "../support/shared_model.rs"]
mod shared_model;

mod artifact;
mod causal;
mod encoder;
mod fuzz;
mod gguf;
mod hub;
mod language_model;
mod made;
mod resident;
mod static_embedding;
mod stored_folder;
mod tuned;

use shared_model::shared_model;
