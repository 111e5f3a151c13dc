// Floats of 16 bits, packed arrays and zstd frames, beside what the vectors have.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";

import { loadZstd } from "../node.mjs";
import { Cursor } from "../src/bytes.mjs";
import { Cache } from "../src/cache.mjs";
import { delivered, fromF16, toF16 } from "../src/dtypes.mjs";

test("every f16 comes back from its number, and numbers between two go to the nearer one", () => {
  for (let bits = 0; bits < 0x7c00; bits++) {
    const value = fromF16(bits);
    const next = bits + 1 === 0x7c00 ? 65536 : fromF16(bits + 1);
    assert.equal(toF16(value), bits);
    assert.equal(toF16(-value), bits | 0x8000);
    assert.equal(toF16(value + (next - value) * 0.4999), bits);
    assert.equal(toF16(value + (next - value) * 0.5001), bits + 1);
    assert.equal(toF16(value + (next - value) / 2), bits % 2 === 0 ? bits : bits + 1);
  }
  assert.equal(toF16(1e9), 0x7c00);
  assert.equal(fromF16(0xfc00), -Infinity);
  assert.ok(Number.isNaN(fromF16(0x7e01)));
});

test("stored values become numbers", () => {
  assert.deepEqual(delivered(9, new Uint16Array([0x3c00, 0x8000])), new Float32Array([1, -0]));
  assert.deepEqual(delivered(10, new Uint16Array([0x3f80, 0xc000])), new Float32Array([1, -2]));
  assert.deepEqual(delivered(11, new Uint32Array([0x3f800000])), new Float32Array([1]));
  assert.deepEqual(delivered(12, new BigUint64Array([0xbff0000000000000n])), new Float64Array([-1]));
});

test("packed arrays wrap around at 2^64", () => {
  const bytes = new Uint8Array(10 + 8 * 2);
  bytes.set([1, 8]);
  bytes.fill(255, 2, 9);
  bytes[9] = 0x7f; // base 2^63 - 1
  bytes[10] = 2; // + 1
  bytes[11] = 1; // - 1
  const halves = new Cursor(bytes, "a test").packedHalves(3, "numbers");
  assert.deepEqual(new BigInt64Array(halves.buffer), new BigInt64Array([2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n - 1n]));
});

test("of many dictionaries the last ones are kept, in bounded memory", async () => {
  const zstd = await loadZstd();
  const require = createRequire(import.meta.url);
  const { Module } = require(path.join(path.dirname(require.resolve("@bokuweb/zstd-wasm")), "zstd.js"));
  // Frames of one raw block: what a dictionary is for, the vectors and the stores of the package show.
  const frame = (text) => Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, text.length, 1 | (text.length << 3), 0, 0, ...Buffer.from(text)]);
  for (let i = 0; i < 40; i++) {
    const dictionary = new Uint8Array(4 << 20).fill(i);
    assert.equal(Buffer.from(zstd.decode(frame(`n${i}`), 0, 9, dictionary)).toString(), `n${i}`);
  }
  assert.ok(Module.HEAPU8.length < 120 << 20, `${Module.HEAPU8.length} bytes of memory`);
});

test("a cache keeps what was used last, and forgets what failed", async () => {
  const cache = new Cache(2);
  const made = [];
  const make = (key) => cache.get(key, async () => made.push(key));
  for (const key of ["a", "b", "a", "c", "a", "b"]) await make(key);
  assert.deepEqual(made, ["a", "b", "c", "b"]);
  await assert.rejects(cache.get("d", async () => Promise.reject(new Error("once"))), /once/);
  assert.equal(await cache.get("d", async () => "again"), "again");
});
