// The reader as a browser has it: modules by URL from a loopback server, and nothing of Node imported. Node's own `fetch`
// needs `process` and `Buffer`, so they are there; a look at the sources makes sure that the reader does without.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { after, before, test } from "node:test";

import { startServer } from "./server.mjs";
import { unpack } from "./vectors.mjs";

const READER = new URL("../", import.meta.url);
const vectors = ["four_columns", "store_newest", "codes_lanes", "dictionary_first_byte"].map((name) => unpack(`good/${name}`));
let server;

before(async () => {
  server = await startServer((path) => {
    const [, name, rest] = /^data\/([a-z0-9_]+)\/(.*)$/.exec(path) ?? [];
    if (name === undefined) return readFile(new URL(path, READER)).catch(() => undefined);
    const vector = vectors.find((one) => one.name === `good/${name}`);
    return vector?.files === null ? vector.body : new Map(vector?.files).get(rest);
  });
});

after(() => server.close());

test("the core imports nothing of Node", async () => {
  const files = (await readdir(new URL("src/", READER))).map((name) => `src/${name}`);
  for (const file of ["browser.mjs", ...files]) {
    const text = await readFile(new URL(file, READER), "utf8");
    for (const [, from] of text.matchAll(/(?:from|import\() ?"([^"]*)"/g)) {
      assert.match(from, /^\.\.?\/[a-z/0-9]+\.mjs$/, `${file} imports ${from}`);
    }
    assert.doesNotMatch(text, /\b(process|Buffer|require)\b[.(]/, file);
  }
});

test("a page reads files and stores", async () => {
  const page = `
    import { open } from "/browser.mjs";
    const lines = [];
    for (const place of ["data/four_columns/file.tok", "data/store_newest", "data/codes_lanes/file.tok", "data/dictionary_first_byte/file.tok"]) {
      const store = await open(new URL(place, "${server.url}"));
      const rows = [];
      for (let i = 0; i < store.length; i++) rows.push(await store.row(i));
      lines.push({ names: store.columns.map((column) => column.name), rows });
    }
    export default lines;
  `;
  const found = await runPage(page);
  const [file, store, codes, dictionary] = found;
  assert.deepEqual(file.names, ["tokens", "quality", "kind", "url"]);
  assert.deepEqual(file.rows[0], { tokens: [1, 2, 3], quality: 0.5, kind: 0, url: "a" });
  assert.equal(store.rows.length, JSON.parse(vectors[1].json).samples.length);
  for (const [rows, vector] of [[codes.rows, vectors[2]], [dictionary.rows, vectors[3]]]) {
    const { samples, columns } = JSON.parse(vector.json);
    for (const { name } of columns) {
      rows.forEach((row, i) => {
        if (Array.isArray(samples[i][name])) assert.deepEqual(row[name].map(String), samples[i][name].flat(4));
      });
    }
  }
});

/** Run the text of a module in a process whose imports are those of a browser, and give what it exports. */
async function runPage(text) {
  const hooks = `
    export function resolve(specifier, { parentURL }, next) {
      if (!/^https?:/.test(parentURL ?? "")) return next(specifier);
      if (!/^(https?:|\\/|\\.)/.test(specifier)) throw new Error("a browser does not find " + specifier);
      return { url: new URL(specifier, parentURL).href, shortCircuit: true };
    }
    export async function load(url, context, next) {
      if (!/^https?:/.test(url)) return next(url);
      if (url.endsWith("page.mjs")) return { format: "module", source: ${JSON.stringify(text)}, shortCircuit: true };
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(url + ": " + answer.status);
      return { format: "module", source: await answer.text(), shortCircuit: true };
    }
  `;
  const main = `
    import { register } from "node:module";
    import { writeSync } from "node:fs";
    register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
    globalThis.location = new URL("${server.url}page.html");
    const { default: found } = await import("${server.url}page.mjs");
    writeSync(1, JSON.stringify(found, (key, value) => ArrayBuffer.isView(value) ? [...value] : value));
  `;
  const child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "--eval", main], { stdio: ["ignore", "pipe", "pipe"] });
  const out = [[], []];
  child.stdout.on("data", (data) => out[0].push(data));
  child.stderr.on("data", (data) => out[1].push(data));
  const code = await new Promise((resolve) => child.on("close", resolve));
  const [printed, errors] = out.map((parts) => Buffer.concat(parts).toString());
  assert.equal(code, 0, errors);
  return JSON.parse(printed);
}
