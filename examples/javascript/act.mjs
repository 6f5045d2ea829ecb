// Act with a policy of Townlet: `npm install && node act.mjs RUN_DIR/policy.onnx`.
//
// Computes the golden vectors that lie beside the file and prints the largest difference. In a browser the same code
// works with `onnxruntime-web`. docs/policy-format.md describes both files.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-node";

/** The policy's own SHA-256: of the file, with zeros in the place of the digest that is stored in it. */
function digestOf(bytes) {
  const marker = Buffer.from('"file_sha256": "');
  const start = bytes.indexOf(marker) + marker.length;
  const blank = Buffer.from(bytes);
  blank.fill("0", start, start + 64);
  const digest = createHash("sha256").update(blank).digest("hex");
  if (bytes.toString("latin1", start, start + 64) !== digest) throw new Error("the policy file is damaged");
  return digest;
}

/** The label of the file: what its actions are, among other things. It ends with the digest. */
function labelOf(bytes) {
  const start = bytes.indexOf('{"format": "townlet-policy"');
  return JSON.parse(bytes.toString("utf8", start, bytes.indexOf('"}', bytes.indexOf('"file_sha256": "')) + 2));
}

/** The most probable action of one agent, from its row of the first output: an index, one for each part, or numbers. */
function greedyAction(row, { actions, distribution }) {
  const best = (part) => part.indexOf(Math.max(...part));
  if (actions === undefined) return best(row);
  if (distribution === undefined) {
    const ends = actions.parts.map(((end) => ({ keys }) => (end += keys.length))(0));
    return ends.map((end, k) => best(row.subarray(end - actions.parts[k].keys.length, end)));
  }
  return actions.low.map((low, k) => {
    const high = actions.high[k];
    if (distribution === "squashed") return low + ((high - low) * (Math.tanh(row[k]) + 1)) / 2;
    return Math.min(Math.max(row[k], low), high);
  });
}

const floats = ({ shape, numbers }) => new ort.Tensor("float32", Float32Array.from(numbers), shape);
const bools = ({ shape, numbers }) => new ort.Tensor("bool", Uint8Array.from(numbers), shape);

/** The largest |found - expected| / (1 + |expected|); null is a forbidden action, whose probability must be 0. */
function difference(found, { numbers }) {
  const errors = numbers.map((expected, index) =>
    expected === null
      ? Math.exp(found[index])
      : Math.abs(found[index] - Math.fround(expected)) / (1 + Math.abs(expected)),
  );
  return errors.some(Number.isNaN) ? Infinity : Math.max(...errors);
}

const [policyPath, vectorsPath = policyPath.replace(/\.onnx$/, ".vectors.json")] = process.argv.slice(2);
const bytes = await readFile(policyPath);
const vectors = JSON.parse(await readFile(vectorsPath, "utf8"));
if (digestOf(bytes) !== vectors.policy_sha256) throw new Error("the vectors are of another policy");
const session = await ort.InferenceSession.create(bytes);

// One row for each agent: observations by name, which actions are legal (numbers have no mask), and what a recurrent
// policy remembers.
const feeds = Object.fromEntries(Object.entries(vectors.observations).map(([name, array]) => [name, floats(array)]));
if (vectors.action_mask !== null) feeds.action_mask = bools(vectors.action_mask);
if (vectors.state_in !== null) feeds.state_in = floats(vectors.state_in);
const outputs = await session.run(feeds);

const first = vectors.action_mask === null ? "gaussian" : "log_probs";
const names = [first, "values", "state_out"].filter((name) => vectors[name] !== null);
const largest = Math.max(...names.map((name) => difference(outputs[name].data, vectors[name])));
const [agents, columns] = outputs[first].dims;
const label = labelOf(bytes);
const greedy = Array.from({ length: agents }, (_, agent) =>
  greedyAction(outputs[first].data.subarray(agent * columns, (agent + 1) * columns), label),
);
console.log(`most probable actions of ${agents} agents: ${greedy.join(" ")}`);
console.log(`largest difference ${largest}, allowed ${vectors.tolerance}`);
process.exitCode = largest <= vectors.tolerance ? 0 : 1;
