use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::Global;
use super::texts::{Lines, OwnedText};
use crate::domain::Invalid;
use crate::model::{ArtifactLocation, BackboneOptions, DeviceChoice, RewardModel};

/// Prints φ and the reward λᵀφ of each {"prompt": …, "response": …} line of standard input.
///
/// The answer to it is a line {"features": […], "reward": r}. Without --coefficients λ is the average user's.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model's directory, or its URL in an object store.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// A user's λ: a JSON file with [λ₁, …] or {"coefficients": [λ₁, …]}, such as GetUser answers.
    #[arg(long, value_name = "FILE")]
    coefficients: Option<PathBuf>,
    /// Where it runs: auto, cpu, cuda:N or metal:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

#[derive(Serialize)]
struct Line<'a> {
    features: &'a [f64],
    reward: f64,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let options = BackboneOptions { device: args.device, ..BackboneOptions::default() };
    let model = RewardModel::open(&ArtifactLocation::new(args.model), &options)?;
    let lambda = match &args.coefficients {
        Some(file) => read_coefficients(file, model.base_functions())?,
        None => model.manifest().prior.mean(),
    };
    let mut out = BufWriter::new(super::output::stdout());
    Lines::Responses.read(std::io::stdin().lock(), |texts| {
        let texts: Vec<_> = texts.iter().map(OwnedText::borrow).collect();
        for phi in model.features(&texts)? {
            let line = Line { features: phi.as_slice(), reward: lambda.dot(&phi) };
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        }
        Ok(out.flush()?)
    })
}

/// λ from a file; J numbers, all finite.
fn read_coefficients(file: &Path, j: usize) -> anyhow::Result<DVector<f64>> {
    let of_file = || format!("--coefficients {}", file.display());
    let json = std::fs::read(file).with_context(of_file)?;
    parse_coefficients(&json, j).with_context(of_file)
}

fn parse_coefficients(json: &[u8], j: usize) -> Result<DVector<f64>, Invalid> {
    let allowed = || format!("[λ₁, …] or {{\"coefficients\": [λ₁, …]}} with {j} finite numbers");
    let file: File = serde_json::from_slice(json).map_err(|error| Invalid::new("JSON", error, allowed()))?;
    let (File::Numbers(numbers) | File::Profile { coefficients: numbers }) = file;
    if numbers.len() != j {
        return Err(Invalid::new("coefficients", format!("{} numbers", numbers.len()), allowed()));
    }
    if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
        return Err(Invalid::new("coefficients", bad, allowed()));
    }
    Ok(DVector::from_vec(numbers))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Numbers(Vec<f64>),
    Profile { coefficients: Vec<f64> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_a_list_or_a_profile_of_the_models_length() {
        let expected = DVector::from_vec(vec![1.0, -0.5]);
        for json in ["[1, -0.5]", r#"{"user_id": "ada", "coefficients": [1, -0.5]}"#] {
            assert_eq!(parse_coefficients(json.as_bytes(), 2).unwrap(), expected);
        }
        for (json, start) in
            [("[1]", "coefficients: got 1 numbers"), ("[1, \"a\"]", "JSON: "), ("", "JSON: ")]
        {
            let error = parse_coefficients(json.as_bytes(), 2).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
            assert!(error.contains("2 finite numbers"), "{error}");
        }
    }
}
