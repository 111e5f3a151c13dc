// Codec 6, `bits` (codecs.md 7).

import { Cursor } from "./bytes.mjs";
import { need } from "./failure.mjs";

const RULE = "codecs.md 7";

export function decodeBits(block) {
  const { n } = block;
  if (block.form === 0) {
    const count = Math.ceil(n / 8);
    return unpackBits(block.coded(count, count, [1]), n, RULE);
  }
  if (block.form !== 1) block.unknownForm();
  const cursor = new Cursor(block.coded(14, 4 + 10 + 8 * (n + 1), [1]), RULE);
  const runs = cursor.u32("the number of runs");
  need(runs >= 1 && runs <= n + 1, `${runs} runs of ${n} values`, RULE);
  const lengths = cursor.packed(runs, "runs");
  cursor.end();
  const values = new Uint8Array(n);
  let at = 0;
  for (let i = 0; i < runs; i++) {
    need(lengths[i] > 0 || i === 0, "an empty run", RULE);
    need(at + lengths[i] <= n, "the runs have more values than the block", RULE);
    if (i % 2 === 1) values.fill(1, at, at + lengths[i]);
    at += lengths[i];
  }
  need(at === n, `the runs have ${at} values, the block ${n}`, RULE);
  return values;
}

/** One byte of 0 or 1 for each of n bits, the lowest of each byte first; bits past the last one must be zero. */
export function unpackBits(bytes, n, rule) {
  need(n % 8 === 0 || bytes[bytes.length - 1] >> n % 8 === 0, "a bit past the last one is set", rule);
  const values = new Uint8Array(n);
  for (let i = 0; i < n; i++) values[i] = (bytes[i >> 3] >> (i & 7)) & 1;
  return values;
}
