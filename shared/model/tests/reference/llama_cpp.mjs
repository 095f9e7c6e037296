// What llama.cpp computes for a GGUF file, as the reference of `tests/it/llama_cpp.rs`.
//
//   mkdir /tmp/reference && cd /tmp/reference && npm install node-llama-cpp@3.22.1 && pip install gguf
//   python .../widen.py MODEL.gguf WIDE.gguf
//   cp .../llama_cpp.mjs . && cd node_modules/@node-llama-cpp/linux-x64/bins/linux-x64 && mkdir away
//   mv libggml-cpu-{zen4,sapphirerapids,icelake,cascadelake,cooperlake,cannonlake,skylakex,alderlake}.so away; cd -
//   node llama_cpp.mjs MODEL.gguf WIDE.gguf .../questions.json .../NAME      (with its kernels for AVX2)
//   mv node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/{away/*,}
//   node llama_cpp.mjs MODEL.gguf --other-kernels .../questions.json .../NAME (with those for AVX-512)
//
// WIDE.gguf holds MODEL.gguf's weights in float32: with them llama.cpp rounds no activations to 8 bits, which it does for
// every quantised matrix. All runs are without flash attention and with a float32 KV cache, but one. Threads and batch
// sizes change no bit of the result; the kernels do.
//
// NAME.json: tokens of some texts (special tokens not parsed); for each question its prompt's tokens, the greedy
// continuation of 32 tokens (`greedy`), the same with a KV cache in half precision (`half_cache_greedy`, llama.cpp's
// default), with the other kernels (`other_kernels_greedy`, which the second run adds) and of WIDE.gguf (`wide_greedy`),
// and WIDE.gguf's logits behind the prompt at some ids (evenly spread, and the 16 largest). NAME.safetensors:
// MODEL.gguf's logits behind each prompt for the whole vocabulary, in half precision.
import fs from "node:fs";
import { getLlama } from "node-llama-cpp";

const [modelPath, widePath, questionsPath, out] = process.argv.slice(2);
const { system, questions, texts } = JSON.parse(fs.readFileSync(questionsPath, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });

function dense(logits) {
  const values = new Float32Array([...logits.keys()].reduce((a, b) => Math.max(a, b)) + 1);
  for (const [token, logit] of logits) values[token] = logit;
  return values;
}

async function answer(context, tokens, model) {
  const sequence = context.getSequence();
  const next = async (input) => {
    const steps = input.map((token, index) =>
      index === input.length - 1 ? [token, { generateNext: { token: true, logits: true, options: { temperature: 0 } } }] : token);
    return (await sequence.controlledEvaluate(steps)).at(-1).next;
  };
  let last = await next(tokens);
  const logits = dense(last.logits);
  const greedy = [];
  while (greedy.length < 32) {
    greedy.push(last.token);
    if (model.isEogToken(last.token)) break;
    last = await next([last.token]);
  }
  sequence.dispose();
  return { logits, greedy };
}

async function run(path, cache) {
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: 1024, threads: 1, sequences: 1, flashAttention: false,
    experimentalKvCacheKeyType: cache, experimentalKvCacheValueType: cache,
  });
  const prompts = [];
  for (const question of questions) {
    const text = `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;
    const tokens = model.tokenize(text, true);
    prompts.push({ question, tokens, ...(await answer(context, tokens, model)) });
  }
  return { prompts, texts: texts.map((text) => ({ text, tokens: model.tokenize(text, false) })) };
}

function half(value) {
  const sign = value < 0 ? 0x8000 : 0;
  let x = Math.abs(value);
  if (x === 0) return sign;
  let exponent = Math.max(-14, Math.floor(Math.log2(x)));
  let mantissa = Math.round((x / 2 ** exponent) * 1024);
  if (mantissa === 2048) { mantissa = 1024; exponent += 1; }
  return mantissa < 1024 ? sign | mantissa : sign | ((exponent + 15) << 10) | (mantissa - 1024);
}

function safetensors(rows) {
  const bytes = Buffer.alloc(rows.length * rows[0].length * 2);
  rows.forEach((row, index) => row.forEach((value, column) => bytes.writeUInt16LE(half(value), (index * row.length + column) * 2)));
  const text = JSON.stringify({ logits: { dtype: "F16", shape: [rows.length, rows[0].length], data_offsets: [0, bytes.length] } });
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, bytes]);
}

async function addOtherKernels() {
  const { prompts } = await run(modelPath, "F32");
  const reference = JSON.parse(fs.readFileSync(`${out}.json`, "utf8"));
  reference.prompts.forEach((prompt, index) => { prompt.other_kernels_greedy = prompts[index].greedy; });
  fs.writeFileSync(`${out}.json`, JSON.stringify(reference));
}

async function write() {
  const file = await run(modelPath, "F32");
  const half_cache = await run(modelPath, "F16");
  const wide = await run(widePath, "F32");
  const prompts = file.prompts.map(({ question, tokens, greedy }, index) => {
    const { logits, greedy: wide_greedy } = wide.prompts[index];
    const half_cache_greedy = half_cache.prompts[index].greedy;
    const top = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 16);
    const spread = Array.from({ length: 240 }, (_, index) => Math.floor((index * logits.length) / 240));
    const ids = [...new Set([...top, ...spread])].sort((a, b) => a - b);
    const wide_logits = ids.map((id) => Number(logits[id].toFixed(4)));
    return { question, tokens, greedy, half_cache_greedy, wide_greedy, ids, wide_logits };
  });
  fs.writeFileSync(`${out}.json`, JSON.stringify({ texts: file.texts, prompts }));
  fs.writeFileSync(`${out}.safetensors`, safetensors(file.prompts.map(({ logits }) => logits)));
}

await (widePath === "--other-kernels" ? addOtherKernels() : write());
process.exit(0);
