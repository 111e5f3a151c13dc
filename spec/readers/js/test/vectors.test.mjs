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

for (const name of names("bad")) {
  test(name, async () => {
    const vector = unpack(name);
    await assert.rejects(async () => verify(await openVector(vector)), (error) => {
      assert.ok(error instanceof ReadError, error.stack);
      assert.equal(error.kind, vector.expect, error.message);
      return true;
    });
  });
}
