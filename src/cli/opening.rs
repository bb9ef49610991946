use crate::model::{BackboneOptions, DeviceChoice, FloatType};

/// How a backbone is opened.
#[derive(Debug, clap::Args)]
pub(super) struct Opening {
    /// Where it runs: auto, cpu, cuda:N or metal:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// What it is computed in, for GPUs: float32, bfloat16 or float16. Another one is another backbone.
    #[arg(long, default_value = "float32")]
    dtype: FloatType,
    /// How prompt and response become one text, or chat: the model's own chat template [default: "{prompt}\n\n{response}"].
    #[arg(long)]
    template: Option<String>,
    /// Look for the backbone's files on this machine only.
    #[arg(long)]
    offline: bool,
}

impl Opening {
    pub(super) fn options(&self) -> BackboneOptions {
        BackboneOptions {
            device: self.device,
            dtype: self.dtype,
            template: self.template.clone(),
            offline: self.offline,
            ..BackboneOptions::default()
        }
    }
}
