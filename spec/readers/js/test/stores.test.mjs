// Stores that the package wrote (make_stores.py): the same as the readable reader finds, by few bytes, at the pace of a
// scan. `make readers-js` writes them; without the folder in TOKREAD_STORES these tests are skipped.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { open } from "../node.mjs";
import { describe, toJson } from "../src/printing.mjs";
import { verify } from "../src/verify.mjs";
import { startServer } from "./server.mjs";

const FOLDER = process.env.TOKREAD_STORES;
const options = { skip: FOLDER === undefined && "TOKREAD_STORES names no folder of stores" };
const place = (name) => path.join(FOLDER, name);

for (const level of ["plain", "fast", "default", "small"]) {
  test(`every type at level ${level}`, options, async () => {
    const store = await open(place(`types_${level}`));
    const found = `${toJson(describe(await verify(store)))}\n`;
    assert.equal(found, await readFile(place(`types_${level}.json`), "utf8"));
  });
}

test("what a caller gets of every type", options, async () => {
  const store = await open(place("types_default"));
  const wanted = JSON.parse(await readFile(place("types_default.json"), "utf8"));
  assert.equal(store.length, wanted.samples.length);
  const kinds = {
    tokens: Int32Array, wide_tokens: Int32Array, mask: Uint8Array, vector: Float32Array, half: Float32Array,
    step: Float32Array, axes: Float32Array, scales: Float32Array, kinds: Uint8Array, dense: Float32Array, raw: Uint8Array,
    frames: Float32Array, grid: Int32Array, codes: Uint8Array, many_codes: Uint16Array, flags: Uint8Array,
  };
  const scans = await Promise.all(store.columns.map(async ({ name }) => [name, await collect(store.scan(name))]));
  for (let i = 0; i < store.length; i += 7) {
    const row = await store.row(i);
    assert.equal(await store.sampleId(i), Number(wanted.samples[i].id));
    for (const [name, values] of scans) {
      const value = row[name];
      assert.deepEqual(value, values[i], `${name} of ${i}`);
      assert.equal(value === null, wanted.samples[i][name] === null, `${name} of ${i}`);
      if (value === null) continue;
      if (Object.hasOwn(kinds, name)) assert.ok(value instanceof kinds[name], `${name} is no ${kinds[name].name}`);
    }
    const json = wanted.samples[i];
    assert.deepEqual(Array.from(row.tokens, String), json.tokens);
    const bits = json.__proto__ === null ? null : Buffer.from(json.__proto__, "hex").readDoubleBE();
    assert.ok(Object.hasOwn(row, "__proto__") && row.__proto__ === bits, "a column of any name is an own property");
    assert.deepEqual([row.source, String(row.wide)], [json.source, json.wide]);
    if (json.text?.values === undefined) assert.equal(row.text, json.text);
    else assert.equal(Buffer.byteLength(row.text), Number(json.text.values));
    assert.deepEqual(Array.from(row.grid, String), json.grid.flat());
    assert.deepEqual(Array.from(row.soft.classes, String), json.soft.slice(0, 2));
    assert.ok(row.soft.probabilities.every((p) => p >= 0 && p <= 1));
    if (row.dense !== null) assert.deepEqual(Array.from(row.dense, (p) => String(Math.round(p * 255))), json.dense);
  }
  const view = await store.view("good");
  assert.deepEqual(await Promise.all(Array.from(view.positions, (i) => store.sampleId(i).then(String))), wanted.views.good.samples);
  for (const position of view.positions) assert.ok((await store.row(position, ["score"])).score > 0.5);
});

test("without a hint the newest version is found by going up from the first", options, async () => {
  const find = (name) => (name === "latest" ? undefined : readFile(path.join(place("types_plain"), name)).catch(() => undefined));
  const server = await startServer(async (name) => find(name));
  try {
    const store = await open(server.url);
    assert.deepEqual([store.version, store.tags], [3, { final: 2 }]);
    assert.equal((await open(server.url, { version: 1 })).length, store.length + 4);
  } finally {
    await server.close();
  }
});

test("codes are decoded in the contexts of their neighbours", options, async () => {
  const store = await open(place("large"));
  for await (const shard of store.shards()) {
    const { part } = await shard.place(store.column("codes"));
    await part.load();
    const { object } = await part.context();
    assert.ok(object.up !== null && object.width === 8 && part.form.every((form) => form === 1), "the store is not what the test is for");
  }
});

async function collect(values) {
  const all = [];
  for await (const value of values) all.push(value);
  return all;
}

test("bytes and requests of a row of a large store", options, async (t) => {
  const said = JSON.parse(await readFile(place("large.json"), "utf8"));
  const files = await readdir(place("large"), { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(files.filter((one) => one.isFile()).map(async (one) => (await readFile(path.join(one.parentPath ?? one.path, one.name))).length));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const server = await startServer(async (name) => readFile(path.join(place("large"), name)).catch(() => undefined));
  try {
    const store = await open(server.url);
    assert.equal(store.length, said.rows);
    assert.equal(server.counts.requests, 4);
    assert.ok(server.counts.bytes < 4000, `${server.counts.bytes} bytes to open`);
    for (const [position, row] of Object.entries(said.some)) {
      server.reset();
      const found = await store.row(Number(position));
      assert.deepEqual({ ...found, tokens: [...found.tokens], codes: [...found.codes] }, row);
      // Head, tail, a block of each of four columns, and objects if no row before it read them.
      t.diagnostic(`row ${position}: ${server.counts.requests} requests, ${server.counts.bytes} of ${total} bytes`);
      assert.ok(server.counts.requests <= 8 && server.counts.bytes < total / 5, `row ${position}`);
    }
    server.reset();
    let sum = 0;
    let count = 0;
    for await (const pieces of store.pieces("tokens")) {
      for (const ids of pieces) {
        count += ids.length;
        for (const id of ids) sum += id;
      }
    }
    assert.deepEqual([count, sum], [said.tokens, said.sum]);
    t.diagnostic(`scan of ${count} tokens: ${server.counts.requests} requests, ${server.counts.bytes} bytes`);
    assert.ok(server.counts.bytes < total);
  } finally {
    await server.close();
  }
});
