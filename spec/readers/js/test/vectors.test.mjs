// Every vector of spec/vectors: good ones give their JSON byte for byte, bad ones the kind of error that they ask for.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ReadError } from "../node.mjs";
import { describe, toJson } from "../src/printing.mjs";
import { verify } from "../src/verify.mjs";
import { names, openVector, unpack } from "./vectors.mjs";

test("there are vectors of both kinds", () => {
  assert.ok(names("good").length >= 130 && names("bad").length >= 520);
});

for (const name of names("good")) {
  test(name, async () => {
    const vector = unpack(name);
    assert.equal(`${toJson(describe(await verify(await openVector(vector))))}\n`, vector.json);
  });
}

/** Words of the error where another rule would be broken too, so that the kind does not tell. */
const WORDS = { "bad/codes_state_low": /first state/, "bad/codes_words_left": /left over/, "bad/codes_words_out": /run out/ };

for (const name of names("bad")) {
  test(name, async () => {
    const vector = unpack(name);
    await assert.rejects(async () => verify(await openVector(vector)), (error) => {
      assert.ok(error instanceof ReadError, error.stack);
      assert.equal(error.kind, vector.expect, error.message);
      assert.match(error.rule, /^(format|codecs|registry)\.md [0-9.]+$/);
      assert.match(error.what, WORDS[name] ?? /./);
      return true;
    });
  });
}

test("the empty root of an older version is one that was removed, that of the newest is cut", async () => {
  const vector = unpack("good/store_version_1");
  for (const [version, kind] of [[1, "missing"], [2, "truncated"]]) {
    const root = `manifests/${String(version).padStart(20, "0")}.tsm`;
    const files = vector.files.map(([path, bytes]) => [path, path === root ? new Uint8Array(0) : bytes]);
    await assert.rejects(openVector({ ...vector, files, version }), { kind });
  }
});

test("a wrong position or name is a RangeError", async () => {
  const store = await openVector(unpack("good/store_newest"));
  for (const position of [-1, 0.5, store.length, "0"]) await assert.rejects(store.row(position), RangeError);
  await assert.rejects(store.row(0, ["nothing"]), RangeError);
});

test("a column that cannot be read is refused alone", async () => {
  for (const name of ["good/unknown_codec", "good/unknown_type", "good/unknown_object_kind", "good/column_feature"]) {
    const vector = unpack(name);
    const reader = await openVector(vector);
    const { refused, samples } = JSON.parse(vector.json);
    const row = await reader.row(0);
    assert.deepEqual([...Object.keys(row), "id"].sort(), Object.keys(samples[0]).sort(), name);
    for (const column of refused) {
      assert.ok(reader.columns.some((one) => one.name === column));
      await assert.rejects(reader.row(0, [column]), { kind: "unsupported" });
      await assert.rejects(reader.scan(column).next(), { kind: "unsupported" });
    }
  }
});
