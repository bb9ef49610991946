/// What can go wrong between a text and φ(x, y).
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The device's name cannot be read, or the machine has no such device.
    #[error(
        "device {given:?}: {reason}; allowed: auto, cpu, cuda:N or metal:N (with the cargo feature of that name)"
    )]
    Device {
        /// The name as given.
        given: String,
        /// Why it cannot be used.
        reason: String,
    },

    /// No kind of number that is computed with goes by this name.
    #[error("dtype: got {given:?}; allowed: float32, bfloat16, float16")]
    FloatType {
        /// The name as given.
        given: String,
    },

    /// No backbone goes by this name here.
    #[error(
        "backbone {spec:?}: {reason}; allowed: lexical, minilm, a directory in Hugging Face layout, a GGUF file, the URL \
         of a folder in an object store, a hub id (organisation/name, optionally @revision), or several of these joined \
         by +"
    )]
    UnknownBackbone {
        /// The name as given.
        spec: String,
        /// What was looked at and not found.
        reason: String,
    },

    /// The hub could not be asked, and the local cache does not have the files.
    #[error(
        "backbone {id:?} is not in the local cache ({cache}) and the hub cannot be reached: {reason}; \
         copy the model's files to this machine and name their directory as the backbone instead"
    )]
    HubUnreachable {
        /// The hub id.
        id: String,
        /// The cache folder that was looked at.
        cache: String,
        /// The hub's or the network's words.
        reason: String,
    },

    /// A file of a backbone is missing or cannot be used.
    #[error("backbone file {file}: {reason}")]
    BackboneFile {
        /// Path of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The backbone has no weights that could be trained.
    #[error(
        "backbone {spec:?} cannot be tuned: {reason}; allowed with it: tune head. To tune low-rank adapters or all \
         weights, name one folder or hub id of a BERT, Qwen2 or Llama model"
    )]
    NotTunable {
        /// The name as given.
        spec: String,
        /// What it is.
        reason: String,
    },

    /// A template without exactly one {prompt} before one {response}.
    #[error("template: got {given:?}; allowed: text with one {{prompt}} and, after it, one {{response}}")]
    Template {
        /// The template as given.
        given: String,
    },

    /// The tokenizer refused a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),

    /// There is no complete artifact at this place.
    #[error("no model at {location}: {reason}")]
    NoArtifact {
        /// Directory or URL.
        location: String,
        /// What is missing.
        reason: String,
    },

    /// The manifest cannot be read, or its figures do not fit together.
    #[error("{location}: manifest.json: {reason}")]
    Manifest {
        /// Directory or URL.
        location: String,
        /// Which field, what was given, what is allowed.
        reason: String,
    },

    /// A file is not the one that the manifest names.
    #[error(
        "{location}: {file}: sha256 is {found}, the manifest says {expected}: damaged, or of another model"
    )]
    ArtifactHash {
        /// Directory or URL.
        location: String,
        /// The file's name.
        file: String,
        /// Hash in the manifest, hex.
        expected: String,
        /// Hash of the bytes found, hex.
        found: String,
    },

    /// A file of an artifact is missing, cut short or malformed.
    #[error("{location}: {file}: {reason}")]
    ArtifactFile {
        /// Directory or URL.
        location: String,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A head does not have the shape that the manifest promises.
    #[error(
        "{location}: {file}: shape is {found:?}, the manifest says {expected:?} (base functions × dimension)"
    )]
    ArtifactShape {
        /// Directory or URL.
        location: String,
        /// The file's name.
        file: String,
        /// (rows, columns) by the manifest.
        expected: (usize, usize),
        /// The shape found.
        found: Vec<usize>,
    },

    /// A head holds NaN or an infinity.
    #[error("{location}: {file}: value {index} is {value}, not a finite number")]
    NotFinite {
        /// Directory or URL.
        location: String,
        /// The file's name.
        file: String,
        /// Position in row-major order.
        index: usize,
        /// The value.
        value: f64,
    },

    /// The backbone at hand is not the one that the head was trained on.
    #[error(
        "model {version} was trained on backbone {expected}, but the backbone at hand is {found}: its features would \
         mean nothing"
    )]
    ForeignBackbone {
        /// The model's version.
        version: String,
        /// Id and hash in the manifest.
        expected: String,
        /// Id and hash of the backbone at hand.
        found: String,
    },

    /// The place where artifacts lie did not do what was asked.
    #[error("{location}: {reason}")]
    Storage {
        /// Directory or URL.
        location: String,
        /// The storage's words.
        reason: String,
    },

    /// A vector does not have the backbone's dimension d.
    #[error("embedding: got {found} numbers; allowed: {expected}, the backbone's dimension")]
    Dimension {
        /// d
        expected: usize,
        /// Length given.
        found: usize,
    },

    /// The chat template did not take the conversation.
    #[error("chat_template: {reason}")]
    ChatTemplate {
        /// What the template raised.
        reason: String,
    },

    /// A conversation was given to a language model without a chat template.
    #[error(
        "{id} has no chat template (chat_template.jinja, or tokenizer_config.json: chat_template), so that it reads no conversations"
    )]
    NoChatTemplate {
        /// The model's name.
        id: String,
    },

    /// More tokens than the model has positions for.
    #[error("{tokens} tokens; allowed: at most {context}, the model's context")]
    ContextLength {
        /// Tokens of the sequence.
        tokens: usize,
        /// Positions.
        context: usize,
    },

    /// The weights would not fit.
    #[error(
        "out of memory: {:.2} GiB are needed for the weights, {:.2} GiB are available; allowed: a smaller backbone, or \
         more memory for this server",
        gib(*needed),
        gib(*available)
    )]
    OutOfMemory {
        /// Bytes.
        needed: u64,
        /// Bytes that the machine or the container has left.
        available: u64,
    },

    /// The model's queue is full: try again shortly.
    #[error("the model's queue is full ({capacity} requests are waiting)")]
    QueueFull {
        /// How many requests the queue holds.
        capacity: usize,
    },

    /// The model thread has been shut down.
    #[error("the model has been shut down")]
    Stopped,

    /// The model panicked over this batch; it goes on with the next.
    #[error("the model failed over this batch: {0}")]
    Panicked(String),

    /// A tensor operation failed.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}
