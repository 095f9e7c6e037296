//! ONNX Runtime: loaded once per process, from a given library.

use crate::EmbedError;
use ort::environment::Environment;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The library in use. It is never unloaded: ONNX Runtime allows one environment in a process's life.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the library at `path`, which is loaded at the first call.
///
/// # Errors
/// [`EmbedError::Runtime`] where the library is missing, is no ONNX Runtime or is too old (another path may be tried
/// afterwards); [`EmbedError::SecondRuntime`] where another one is in use.
pub(crate) fn environment(path: &Path) -> Result<Environment, EmbedError> {
    let failed = |reason: String| EmbedError::Runtime {
        path: path.into(),
        reason,
    };
    let asked = path.canonicalize().map_err(|e| failed(e.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match loaded.as_ref() {
        Some((path, environment)) if *path == asked => return Ok(environment.clone()),
        Some((path, _)) => {
            return Err(EmbedError::SecondRuntime {
                loaded: path.clone(),
                asked,
            });
        }
        None => {}
    }
    let builder = ort::init_from(&asked).map_err(|e| failed(e.to_string()))?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    tracing::info!(library = %asked.display(), "loaded ONNX Runtime");
    *loaded = Some((asked, environment.clone()));
    Ok(environment)
}

/// Whether the processor adds products of 8-bit numbers in 32 bits (VNNI, Arm's dot product), so that weights may use all 8.
pub(crate) fn adds_exactly() -> bool {
    #[cfg(target_arch = "x86_64")]
    let adds = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let adds = cfg!(target_arch = "aarch64");
    adds
}

/// The number of physical cores that this process may use; at least 1.
///
/// Two hardware threads of one core gain nothing in matrix products. Where the system does not tell cores from threads,
/// threads are counted.
pub fn physical_cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    match cores_of_linux() {
        0 => allowed,
        cores => cores.min(allowed),
    }
}

/// Distinct sets of sibling threads; 0 where they are not to be found.
fn cores_of_linux() -> usize {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else {
        return 0;
    };
    let siblings =
        |dir: PathBuf| std::fs::read_to_string(dir.join("topology/thread_siblings_list")).ok();
    let cores: BTreeSet<String> = entries
        .filter_map(|entry| siblings(entry.ok()?.path()))
        .collect();
    cores.len()
}
