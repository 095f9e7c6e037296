use super::cache;
use candle_core::cuda_backend::cudarc::nvrtc::{result, sys};
use std::ffi::CString;

/// One source file with what stands before it, for one width of heads where it depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) head: Option<usize>,
}

const DEVICE: &str = include_str!("kernels/device.cuh");
const ATTENTION: &str = include_str!("kernels/attention.cuh");

impl Unit {
    fn source(&self) -> String {
        let own = match self.name {
            "attention" => [ATTENTION, include_str!("kernels/attention.cu")].concat(),
            "attention_backward" => {
                [ATTENTION, include_str!("kernels/attention_backward.cu")].concat()
            }
            "decode" => include_str!("kernels/decode.cu").to_owned(),
            "gate" => include_str!("kernels/gate.cu").to_owned(),
            "loss" => include_str!("kernels/loss.cu").to_owned(),
            "many" => include_str!("kernels/many.cu").to_owned(),
            "norm" => include_str!("kernels/norm.cu").to_owned(),
            "rotary" => include_str!("kernels/rotary.cu").to_owned(),
            _ => String::new(),
        };
        [DEVICE, &own].concat()
    }

    /// Machine code for a compute capability such as (9, 0), from the cache or NVRTC.
    pub(super) fn code(&self, (major, minor): (i32, i32)) -> Result<Vec<u8>, String> {
        let source = self.source();
        let mut options = vec![
            format!("--gpu-architecture=sm_{major}{minor}"),
            "--std=c++17".to_owned(),
        ];
        options.extend(self.head.map(|head| format!("--define-macro=HEAD={head}")));
        let version = version()?;
        let mut key = vec![source.as_str(), version.as_str()];
        key.extend(options.iter().map(String::as_str));
        let folder = cache::folder();
        cache::code(folder.as_deref(), &key, || {
            tracing::info!(
                kernel = self.name,
                head = self.head,
                "compiling a CUDA kernel"
            );
            compile(&source, &options)
                .map_err(|error| format!("NVRTC on `{}.cu`: {error}", self.name))
        })
    }
}

/// NVRTC's version; an error where the library is missing.
#[expect(unsafe_code, reason = "NVRTC is a C library; it writes two integers")]
pub(super) fn version() -> Result<String, String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to integers of this frame.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(|_| "libnvrtc.so.13 or .12 cannot be opened; install NVIDIA's nvrtc, or name its folder in LORE_CUDA_PATH".to_owned())?;
    Ok(format!("{major}.{minor}"))
}

#[expect(
    unsafe_code,
    reason = "NVRTC is a C library; the program lives until the end of this function"
)]
fn compile(source: &str, options: &[String]) -> Result<Vec<u8>, String> {
    let source = CString::new(source).map_err(|error| error.to_string())?;
    let program = result::create_program(&source, None).map_err(|error| format!("{error:?}"))?;
    // SAFETY: `program` was just made and is destroyed once, after its last use; the buffer has the size asked for.
    unsafe {
        let compiled = result::compile_program(program, options);
        let code = match compiled {
            Ok(()) => {
                let mut size = 0;
                let mut got = sys::nvrtcGetCUBINSize(program, &raw mut size).result();
                let mut code = vec![0u8; size];
                if got.is_ok() {
                    got = sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result();
                }
                got.map(|()| code).map_err(|error| format!("{error:?}"))
            }
            Err(error) => {
                let log = result::get_program_log(program).unwrap_or_default();
                let log: Vec<u8> = log.iter().map(|byte| byte.cast_unsigned()).collect();
                Err(format!("{error:?}: {}", String::from_utf8_lossy(&log)))
            }
        };
        let _ = result::destroy_program(program);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs without a GPU, where NVRTC can be opened: `LORE_CUDA_PATH` may name its folder.
    #[test]
    fn every_kernel_compiles() {
        if let Err(why) = version() {
            println!("skipped: {why}");
            return;
        }
        let mut units: Vec<Unit> = ["gate", "loss", "many", "norm", "rotary"]
            .into_iter()
            .map(|name| Unit { name, head: None })
            .collect();
        for name in ["attention", "attention_backward", "decode"] {
            let of = |head: &usize| Unit {
                name,
                head: Some(*head),
            };
            units.extend(crate::cuda::attention::WIDTHS.iter().map(of));
        }
        for unit in units {
            for capability in [(8, 0), (9, 0)] {
                let code = unit.code(capability).expect("machine code");
                assert!(code.starts_with(b"\x7fELF"), "{unit:?}");
            }
        }
        let headless = Unit {
            name: "decode",
            head: None,
        };
        let error = headless.code((9, 0)).expect_err("no width");
        assert!(
            error.contains("decode.cu") && error.contains("HEAD"),
            "{error}"
        );
    }
}
