// The page of this reader, and its types: what they say is there, and the examples run.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";

import * as browser from "../browser.mjs";
import * as node from "../node.mjs";
import { startServer } from "./server.mjs";
import { unpack } from "./vectors.mjs";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const TYPES = readFileSync(new URL("../index.d.ts", import.meta.url), "utf8");
let server;

before(async () => {
  const tokens = unpack("good/store_newest");
  const texts = unpack("good/store_text");
  server = await startServer((path) => {
    const [, name, rest] = /^(tokens|texts)\/(.*)$/.exec(path) ?? [];
    return name === undefined ? undefined : new Map((name === "tokens" ? tokens : texts).files).get(rest);
  });
});

after(() => server.close());

/** Run the text of a module in this process. */
async function run(text) {
  const here = new URL("../", import.meta.url).href;
  const whole = text.replace(/from "\.\/(tokstore\/)?(\w+\.mjs)"/, `from "${here}node.mjs"`);
  await import(`data:text/javascript,${encodeURIComponent(whole)}`);
}

test("the example for Node runs", async () => {
  const [, example] = /```js\n([^]*?)```/.exec(README);
  const shown = example.replace('"corpus"', `"${server.url}tokens"`).replace('1000, ["tokens", "url"]', '0, ["tokens"]');
  assert.notEqual(shown, example);
  await run(shown.replace("console.log", "void "));
});

test("the example for browsers runs", async () => {
  const [, example] = /<script type="module">\n([^]*?)<\/script>/.exec(README);
  const store = await node.open(`${server.url}texts`);
  const name = store.columns.find((column) => column.type === "Text").name;
  globalThis.document = { body: {} };
  await run(example.replace("https://data.example/corpus", `${server.url}texts`).replace('["text"]', `["${name}"]`).replace("{ text }", `{ ${name}: text }`));
  assert.equal(document.body.textContent, (await store.row(0))[name]);
});

test("types and modules have the same names", () => {
  const declared = [...TYPES.matchAll(/^(\/\*\* Node only\. \*\/\n)?export (?:declare )?(?:function|class) (\w+)/gm)];
  const names = (wanted) => declared.filter(([, only]) => wanted || only === undefined).map(([, , name]) => name).sort();
  const internal = ["openUrl"];
  const exported = (module) => Object.keys(module).filter((name) => !internal.includes(name)).sort();
  assert.deepEqual(exported(node), [...new Set(names(true))]);
  assert.deepEqual(exported(browser), [...new Set(names(false))]);
});

test("every file is on the page", () => {
  const folder = new URL("../src/", import.meta.url);
  for (const file of readdirSync(folder)) {
    const known = README.includes(file) || ["cache.mjs", "index.mjs"].includes(file);
    assert.ok(known, `${file} is not on the page`);
  }
  for (const [, link] of README.matchAll(/\]\(([^)]+)\)/g)) assert.ok(existsSync(new URL(link, new URL("../", import.meta.url))), link);
});
