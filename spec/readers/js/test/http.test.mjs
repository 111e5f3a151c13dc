// Stores and files behind a loopback server: the same values, by ranges, without a list of files.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { HttpSource, open } from "../node.mjs";
import { describe, toJson } from "../src/printing.mjs";
import { verify } from "../src/verify.mjs";
import { startServer } from "./server.mjs";
import { names, unpack } from "./vectors.mjs";

const vectors = new Map(names("good").map((name) => [name.slice(5), unpack(name)]));
let server;

before(async () => {
  server = await startServer((path) => {
    const [, name, rest] = /^([a-z0-9_]+)\/(.*)$/.exec(path) ?? [];
    const vector = vectors.get(name);
    if (vector === undefined) return undefined;
    return vector.files === null ? vector.body : new Map(vector.files).get(rest);
  });
});

after(() => server.close());

test("every good vector reads the same over http", async () => {
  for (const [name, vector] of vectors) {
    const place = vector.files === null ? `${server.url}${name}/file.tok` : `${server.url}${name}`;
    const found = describe(await verify(await open(place, { version: vector.version })));
    const wanted = JSON.parse(vector.json);
    delete wanted.parts; // a server does not list what is staged or saved
    delete wanted.views;
    assert.equal(toJson(found), toJson(wanted), name);
  }
});

test("a saved view is read by its name", async () => {
  const store = await open(`${server.url}view_weights`);
  const wanted = JSON.parse(vectors.get("view_weights").json).views;
  for (const [name, one] of Object.entries(wanted)) {
    const view = await store.view(name);
    const ids = await Promise.all(Array.from(view.positions, (position) => store.sampleId(position)));
    assert.deepEqual(ids.map(String), one.samples);
    assert.deepEqual(Array.from(view.weights ?? [], (weight) => String(weight * 65536)), one.weights ?? []);
  }
  await assert.rejects(store.view("another"), { kind: "missing" });
  await assert.rejects(store.view("../up"), RangeError);
});

test("a small file is one request", async () => {
  server.reset();
  const file = await open(`${server.url}four_columns/file.tok`);
  assert.deepEqual(await file.row(0), { tokens: new Int32Array([1, 2, 3]), quality: 0.5, kind: 0, url: "a" });
  assert.equal(server.counts.requests, 1);
});

test("a store is opened by four requests; a row takes head, tail and block of its shard", async () => {
  server.reset();
  const store = await open(`${server.url}store_newest`);
  const folder = (path) => path.split("/")[1];
  assert.deepEqual(server.counts.paths.map(folder).sort(), ["latest", "manifests", "manifests", "tokstore.json"]);
  assert.equal(store.version, 2);
  server.reset();
  await store.row(0);
  assert.equal(server.counts.requests, 3);
  server.reset();
  await store.row(1);
  assert.equal(server.counts.requests, 0, "what was read is kept");
});

test("what is not there is missing, and what is no range is an error", async () => {
  await assert.rejects(open(`${server.url}nothing`), { kind: "missing" });
  await assert.rejects(open(`${server.url}nothing.tok`), { kind: "missing" });
  const { body } = vectors.get("four_columns");
  const all = `bytes 0-${body.length - 1}/${body.length}`;
  const answers = [
    [200, {}, body, /support ranges/],
    [500, {}, null, /status 500/],
    [206, {}, body, /no Content-Range/],
    [206, { "Content-Range": all, "Content-Length": "65537" }, body, /longer/],
    [206, { "Content-Range": all }, body.subarray(1), /corrupt|truncated|checksum/],
  ];
  for (const [status, headers, bytes, words] of answers) {
    const fetch = async () => new Response(bytes, { status, headers });
    await assert.rejects(open("http://127.0.0.1/a.tok", { fetch }), words);
  }
  const source = new HttpSource("http://127.0.0.1/a", { fetch: async () => new Response(body, { status: 206, headers: { "Content-Range": all } }) });
  await assert.rejects(source.read(7, 9999), /begins at 0/);
  const hidden = new HttpSource("http://127.0.0.1/a", { fetch: async () => new Response(body.subarray(7, 9), { status: 206 }) });
  assert.deepEqual(await hidden.read(7, 2), body.subarray(7, 9));
});
