//! Sessions of ONNX Runtime, through fastembed.

use crate::{
    EmbedError, EmbedSettings, EmbedTokenizer, EmbedderInfo, Pooling,
    fastembed_files::id_reader,
    runtime::{environment, physical_cores},
};
use fastembed::{
    InitOptionsUserDefined, QuantizationMode, TextEmbedding, UserDefinedEmbeddingModel,
};
use std::path::Path;

/// Idle threads of a session sleep: the generator wants the same cores.
pub(crate) const NO_SPINNING: (&str, &str) = ("session.intra_op.allow_spinning", "0");

/// Where ONNX Runtime looks for weights that a graph keeps in a file beside itself; it maps them, so that what no text needs is not
/// read.
const WEIGHTS_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// An embedder's session.
pub(crate) struct Session {
    pub model: TextEmbedding,
    /// Whether texts must be computed one by one: the model quantises its inputs as they come, so that what else is in a batch would
    /// change a text's vector.
    pub single: bool,
}

impl Session {
    /// Loads the model at `onnx`.
    pub(crate) fn open(
        settings: &EmbedSettings,
        onnx: &Path,
        info: &EmbedderInfo,
        tokenizer: &EmbedTokenizer,
    ) -> Result<Self, EmbedError> {
        let bytes = std::fs::read(onnx).map_err(EmbedError::read(onnx))?;
        let single = quantises_inputs(&bytes);
        let pooling = match info.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        };
        let reader = id_reader(&settings.files, tokenizer)?;
        let model = UserDefinedEmbeddingModel::new(bytes, reader)
            .with_pooling(pooling)
            .with_quantization(QuantizationMode::None); // batches are formed by `Batch`
        let absolute = std::path::absolute(onnx).map_err(EmbedError::read(onnx))?;
        let folder = absolute.parent().unwrap_or(&absolute);
        let options = InitOptionsUserDefined::new()
            .with_environment(environment(&settings.runtime_library)?)
            .with_max_length(info.max_tokens)
            .with_intra_threads(threads(settings))
            .with_session_config(WEIGHTS_FOLDER, folder.to_string_lossy())
            .with_session_config(NO_SPINNING.0, NO_SPINNING.1);
        let model = TextEmbedding::try_new_from_user_defined(model, options)
            .map_err(|e| EmbedError::load(&info.name, e))?;
        Ok(Self { model, single })
    }
}

/// Threads for a session.
pub(crate) fn threads(settings: &EmbedSettings) -> usize {
    if settings.threads == 0 {
        physical_cores()
    } else {
        settings.threads
    }
}

/// Whether the graph holds the operator that quantises inputs. Nodes stand before weights in the file.
fn quantises_inputs(onnx: &[u8]) -> bool {
    const OPERATOR: &[u8] = b"DynamicQuantize";
    const NODES: usize = 4 << 20;
    let nodes = onnx.get(..NODES).unwrap_or(onnx);
    nodes.windows(OPERATOR.len()).any(|name| name == OPERATOR)
}
