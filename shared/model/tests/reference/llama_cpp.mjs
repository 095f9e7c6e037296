// What llama.cpp computes for a GGUF file, as the reference of `tests/it/llama_cpp.rs`.
//
//   mkdir /tmp/reference && cd /tmp/reference && npm install node-llama-cpp@3.22.1 && pip install gguf
//   python .../widen.py MODEL.gguf WIDE.gguf
//   cp .../llama_cpp.mjs . && node llama_cpp.mjs MODEL.gguf WIDE.gguf .../questions.json .../NAME
//
// WIDE.gguf holds MODEL.gguf's weights in float32: with them llama.cpp rounds no activations to 8 bits, which it does for
// every quantised matrix. Both run with a float32 KV cache and without flash attention; neither threads nor batch sizes
// change a bit of the result.
//
// NAME.json: tokens of some texts (special tokens not parsed); for each question its prompt's tokens, the greedy
// continuations of 32 tokens of both files, and WIDE.gguf's logits behind the prompt at some ids (evenly spread, and the
// 16 largest). NAME.safetensors: MODEL.gguf's logits behind each prompt for the whole vocabulary, in half precision.
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

async function run(path) {
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: 1024, threads: 1, sequences: 1, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
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

const file = await run(modelPath);
const wide = await run(widePath);
const prompts = file.prompts.map(({ question, tokens, greedy }, index) => {
  const { logits, greedy: wide_greedy } = wide.prompts[index];
  const top = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 16);
  const spread = Array.from({ length: 240 }, (_, index) => Math.floor((index * logits.length) / 240));
  const ids = [...new Set([...top, ...spread])].sort((a, b) => a - b);
  return { question, tokens, greedy, wide_greedy, ids, wide_logits: ids.map((id) => Number(logits[id].toFixed(4))) };
});
fs.writeFileSync(`${out}.json`, JSON.stringify({ texts: file.texts, prompts }));
fs.writeFileSync(`${out}.safetensors`, safetensors(file.prompts.map(({ logits }) => logits)));
process.exit(0);
