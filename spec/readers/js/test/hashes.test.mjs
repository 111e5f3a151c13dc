// XXH64 and BLAKE2b against known answers, at every length at which they take another way.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hex } from "../src/bytes.mjs";
import { Blake2b, blake2b } from "../src/blake2b.mjs";
import { xxh64 } from "../src/xxh64.mjs";

const SEEDED = [0x2c108e8c671c150bn, 0xac2e982be9eb3a12n, 0xe8612a1f339743c8n];
const ALL_XXH64 = "da08bca3779d893dc77decca8eab63d0180fdc77e02ba132ddff0dea09a3be1a";
const ALL_BLAKE2B = "6b4b25b1b03243609c12a1f9ebe67b41acf79ba60352d980dc9a08896a45ad95";

const text = (letters) => new TextEncoder().encode(letters);

/** Bytes of a pattern in which no eight repeat. */
function pattern(length) {
  return Uint8Array.from({ length }, (_, i) => i * 37 + (i >> 3));
}

test("XXH64 of short texts, with seeds", () => {
  assert.equal(xxh64(text("")), 0xef46db3751d8e999n);
  assert.equal(xxh64(text("a")), 0xd24ec4f1a98c6e5bn);
  assert.equal(xxh64(text("abc")), 0x44bc2cf5ad770999n);
  assert.equal(xxh64(pattern(5), 1n), SEEDED[0]);
  assert.equal(xxh64(pattern(77), 0xfedcba9876543210n), SEEDED[1]);
  assert.equal(xxh64(pattern(1000), 2n ** 64n - 1n), SEEDED[2]);
});

test("XXH64 of every length up to 200", () => {
  const all = Array.from({ length: 200 }, (_, n) => xxh64(pattern(n), BigInt(n)).toString(16).padStart(16, "0")).join("");
  assert.equal(hex(blake2b(text(all))), ALL_XXH64);
});

test("BLAKE2b of nothing, of abc and of every length up to 300", () => {
  assert.equal(hex(blake2b(text(""))), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  assert.equal(hex(blake2b(text("abc"))), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  const all = Array.from({ length: 300 }, (_, n) => hex(blake2b(pattern(n)))).join("");
  assert.equal(hex(blake2b(text(all))), ALL_BLAKE2B);
});

test("BLAKE2b in pieces", () => {
  const bytes = pattern(1000);
  for (const step of [1, 3, 127, 128, 129, 256]) {
    const digest = new Blake2b();
    for (let at = 0; at < bytes.length; at += step) digest.update(bytes.subarray(at, at + step));
    assert.deepEqual(digest.digest(), blake2b(bytes), `steps of ${step}`);
  }
});
