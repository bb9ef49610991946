use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::Global;
use crate::generate::{OpenAi, OpenAiConfig};
use crate::model::{Artifact, ArtifactLocation, Example, Examples, Manifest};
use crate::train::interpret;

/// Says what a model was made from, how well it predicts, and what each base function rewards.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model's directory.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Texts shown at each end of each base function, at most 20.
    #[arg(long, default_value_t = 2, value_name = "N")]
    examples: usize,
    /// Labels in the words of a language model, asked about the texts at each end; the key is read from OPENAI_API_KEY
    #[arg(long, value_name = "openai:URL")]
    labels_from: Option<String>,
    /// The language model's name
    #[arg(long, value_name = "NAME", default_value = "gpt-4o-mini", requires = "labels_from")]
    label_model: String,
    /// Keeps these labels in the model
    #[arg(long, requires = "labels_from")]
    save: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let location = ArtifactLocation::from(args.model.as_path());
    let mut artifact = Artifact::load_blocking(&location)?;
    if let Some(from) = &args.labels_from {
        let url = from
            .strip_prefix("openai:")
            .with_context(|| format!("--labels-from: got {from:?}; allowed: openai:URL"))?;
        let key = std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty());
        let model = OpenAi::new(OpenAiConfig::parse(url, &args.label_model, key.map(Into::into))?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let interpreted = interpret(&artifact.manifest.labels, &artifact.examples, &model);
        artifact.manifest.labels =
            runtime.block_on(interpreted).with_context(|| format!("--labels-from {from}"))?;
        if args.save {
            artifact.manifest = artifact.save_blocking(&location)?;
        }
    }
    let Artifact { manifest, mut examples, .. } = artifact;
    for Examples { top, bottom } in &mut examples {
        top.truncate(args.examples);
        bottom.truncate(args.examples);
    }
    if args.json {
        let base_functions = base_functions(&manifest, &examples);
        let description = Description { manifest: &manifest, base_functions };
        println!("{}", serde_json::to_string_pretty(&description)?);
        return Ok(());
    }
    let count = |name: &str| manifest.metrics.get(name).and_then(|value| value.as_u64()).unwrap_or(0);
    println!(
        "Model {}: {} base functions on {}",
        manifest.version, manifest.base_functions, manifest.backbone.id
    );
    println!(
        "Trained on {} judgments by {} users of {} pairs; tie weight {:.2}, seed {}",
        count("judgments"),
        manifest.training_users.hashes.len(),
        count("pairs"),
        manifest.tie_weight,
        manifest.seed
    );
    if let Some(days) = manifest.reliability.half_life_days() {
        println!("An answer counts half when the person's newest one is {days} days younger");
    }
    if manifest.reliability.lapse_rate() > 0.0 {
        println!(
            "A share of {} of a person's answers is taken to be slips",
            manifest.reliability.lapse_rate()
        );
    }
    for (name, value) in &manifest.metrics {
        if let (Some(quadrant), Some(auc)) = (name.strip_prefix("auc."), value.as_f64()) {
            let classic = manifest.metrics.get(&format!("classic_auc.{quadrant}")).and_then(|v| v.as_f64());
            let beside = classic.map_or(String::new(), |classic| format!(", one shared reward {classic:.3}"));
            println!("AUC, {}: {auc:.3}{beside}", quadrant.replace('_', " ").replace('.', ", "));
        }
    }
    print!("{}", base_function_table(&manifest));
    for (j, Examples { top, bottom }) in examples.iter().enumerate() {
        println!("\nBase function {}", j + 1);
        top.iter().chain(bottom.iter().rev()).for_each(|example| println!("  {}", one_line(example)));
    }
    Ok(())
}

/// The base functions with their shares and labels, for a person.
pub(super) fn base_function_table(manifest: &Manifest) -> String {
    let mut out = format!("\n{:>3}{:>16}{:>13}   rewards\n", "#", "people differ", "people agree");
    for j in 0..manifest.base_functions {
        let share =
            |shares: &[f64]| shares.get(j).map_or(String::new(), |share| format!("{:.0} %", share * 100.0));
        let label = manifest
            .labels
            .get(j)
            .filter(|label| !label.is_empty())
            .map_or("(no single style)", String::as_str);
        let (differ, agree) = (share(&manifest.personal_shares), share(&manifest.common_shares));
        let _ = writeln!(out, "{:>3}{differ:>16}{agree:>13}   {label}", j + 1);
    }
    out
}

#[derive(Serialize)]
struct Description<'a> {
    manifest: &'a Manifest,
    base_functions: Vec<BaseFunction<'a>>,
}

#[derive(Serialize)]
struct BaseFunction<'a> {
    index: usize,
    difference_share: Option<f64>,
    common_share: Option<f64>,
    label: &'a str,
    #[serde(flatten)]
    examples: Option<&'a Examples>,
}

fn base_functions<'a>(manifest: &'a Manifest, examples: &'a [Examples]) -> Vec<BaseFunction<'a>> {
    (0..manifest.base_functions)
        .map(|j| BaseFunction {
            index: j,
            difference_share: manifest.personal_shares.get(j).copied(),
            common_share: manifest.common_shares.get(j).copied(),
            label: manifest.labels.get(j).map_or("", String::as_str),
            examples: examples.get(j),
        })
        .collect()
}

/// An example on one line of a terminal.
fn one_line(example: &Example) -> String {
    let flat = |text: &str, most: usize| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    format!("{:+.2}  {} → {:?}", example.value, flat(&example.prompt, 40), flat(&example.response, 70))
}
