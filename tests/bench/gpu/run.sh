#!/usr/bin/env bash
# The visit to a GPU: every kernel against its reference, then Lore beside PEFT and transformers. At most ten minutes;
# what was measured is on disk at once. No network. The machine needs python3 with torch, transformers, peft.
#
# usage: tests/bench/gpu/run.sh PACKED [OUT]   PACKED: the folder that tests/bench/gpu/pack filled
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packed=$(cd "${1:?the folder that tests/bench/gpu/pack filled}" && pwd)
out=${2:-${OUT:-gpu-bench}}
mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/lore-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT
started=$(date +%s)
said() { echo "[$(($(date +%s) - started)) s] $*"; }

python3 - "$packed" "$work" <<'END'
import lzma, os, pathlib, sys
for packed in pathlib.Path(sys.argv[1]).glob("*.xz"):
    to = pathlib.Path(sys.argv[2]) / packed.stem
    to.write_bytes(lzma.open(packed).read())
    os.chmod(to, 0o755)
END
libraries=$(python3 -c 'import nvidia, os; print(os.path.join(list(nvidia.__path__)[0], "cu13", "lib"))' 2>/dev/null)
export LORE_CUDA_PATH=$libraries
export LD_LIBRARY_PATH=$libraries:/usr/local/nvidia/lib64:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}
export PYTHONUNBUFFERED=1 XDG_CACHE_HOME=$work/cache RUST_BACKTRACE=1
log=$out/log.txt # everything that is said; few files come back from a borrowed machine
{ nvidia-smi; uname -a; python3 -m pip list 2>/dev/null | grep -iE '^(torch|transformers|peft|triton) '; } >"$log" 2>&1

if [ -e "$work/lore" ]; then
    said "lore on this machine"
    timeout 30 "$work/lore" doctor 2>&1 | tee -a "$log" | grep -i device
fi

said "the kernels against their references"
timeout 150 "$work/gpu_tests" --nocapture --test-threads 1 cuda:: >"$work/tests.txt" 2>&1
echo "exit status $?" >>"$work/tests.txt"
cat "$work/tests.txt" >>"$log"
grep -E '^test result|panicked|exit status|FAILED|skipped' "$work/tests.txt" | head -20

# shape, batch, seconds for the peer, seconds for Lore
measure() {
    local shape=$1 batch=$2
    mkdir -p "$work/$shape"
    said "$shape: PEFT and transformers"
    timeout "$3" python3 "$here/peer.py" "$shape" "$work/$shape" "$out/$shape.peer.json" --batch "$batch" 2>&1 |
        tee -a "$log" | tail -8
    said "$shape: Lore"
    timeout "$4" "$work/gpu_bench" "$work/$shape/model" "$work/$shape/adapter" "$work/$shape/tokens.safetensors" \
        "$out/$shape.lore.json" --batch "$batch" 2>&1 | tee -a "$log" | tail -8
    rm -rf "${work:?}/$shape"
}
shapes=()
for entry in ${SHAPES:-qwen2.5-0.5b:4:100:60 llama-3.1-8b:1:170:120}; do # "tiny:2:60:60" tries the script without a GPU
    IFS=: read -r shape batch peer_seconds lore_seconds <<<"$entry"
    measure "$shape" "$batch" "$peer_seconds" "$lore_seconds"
    shapes+=("$shape")
done

python3 "$here/table.py" "$out" "${shapes[@]}"
said "done; everything is in $out"
