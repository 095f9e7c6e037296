// What llama.cpp computes for a GGUF file, as the reference of `tests/it/llama_cpp.rs`.
//
//   mkdir /tmp/reference && cd /tmp/reference && npm install node-llama-cpp@3.22.1
//   cp .../llama_cpp.mjs . && node llama_cpp.mjs MODEL.gguf .../questions.json OUT.json [FULL_LOGITS.bin]
//
// OUT.json: tokens of some texts (special tokens not parsed); for each question its prompt's tokens, the greedy
// continuation of 32 tokens, and logits behind the prompt at some ids (evenly spread, and the 16 largest).
// FULL_LOGITS.bin: those logits of the whole vocabulary, float32, one question after the other.
import fs from "node:fs";
import { getLlama } from "node-llama-cpp";

const [modelPath, questionsPath, outPath, fullPath] = process.argv.slice(2);
const { system, questions, texts } = JSON.parse(fs.readFileSync(questionsPath, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, threads: 1, sequences: 1 });

const out = { texts: texts.map((text) => ({ text, tokens: model.tokenize(text, false) })), prompts: [] };
const full = [];
for (const question of questions) {
  const prompt = `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;
  const tokens = model.tokenize(prompt, true);
  const sequence = context.getSequence();
  const next = async (input) => {
    const steps = input.map((token, index) =>
      index === input.length - 1 ? [token, { generateNext: { token: true, logits: true, options: { temperature: 0 } } }] : token);
    return (await sequence.controlledEvaluate(steps)).at(-1).next;
  };
  const greedy = [];
  let last = await next(tokens);
  const logits = new Float32Array([...last.logits.keys()].reduce((a, b) => Math.max(a, b)) + 1);
  for (const [token, logit] of last.logits) logits[token] = logit;
  full.push(logits);
  while (greedy.length < 32) {
    const best = last.token;
    greedy.push(best);
    if (model.isEogToken(best)) break;
    last = await next([best]);
  }
  const top = [...last.logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 16);
  const spread = Array.from({ length: 240 }, (_, index) => Math.floor((index * logits.length) / 240));
  const ids = [...new Set([...top, ...spread])].sort((a, b) => a - b);
  out.prompts.push({ question, tokens, greedy, ids, logits: ids.map((id) => Number(logits[id].toFixed(3))) });
  sequence.dispose();
}
fs.writeFileSync(outPath, JSON.stringify(out));
if (fullPath) fs.writeFileSync(fullPath, Buffer.concat(full.map((logits) => Buffer.from(logits.buffer))));
process.exit(0);
