// Hostile bytes: whatever they are, only a ReadError comes out, and soon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ReadError, loadZstd } from "../node.mjs";
import { Cursor } from "../src/bytes.mjs";
import { StoredBlock, decodeBlock } from "../src/codecs.mjs";
import { parseCodeModel } from "../src/codes.mjs";
import { Page, parseDeletions, parsePlan, unwrap } from "../src/manifest.mjs";
import { parseMetadata } from "../src/metadata.mjs";
import { xxh64 } from "../src/xxh64.mjs";
import { ROWS_SECTION, TABLE, seedOf } from "../src/entries.mjs";
import { parseCategories } from "../src/numbers.mjs";
import { parseRankTable } from "../src/tokens.mjs";
import { parseVectorModel } from "../src/vectors.mjs";
import { Ranges } from "../src/ranges.mjs";
import { describe, toJson } from "../src/printing.mjs";
import { verify } from "../src/verify.mjs";
import { names, openVector, unpack } from "./vectors.mjs";

const SCALE = Number(process.env.TOKREAD_FUZZ ?? 1); // TOKREAD_FUZZ=100 tries a hundred times as many inputs

/** Numbers from 0 to 2^32 - 1 that are the same in every run (xorshift). */
function numbers(seed) {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Change some bytes, cut, or put in others. */
function mutate(bytes, next) {
  const result = [...bytes];
  for (let changes = 1 + (next() % 3); changes > 0; changes--) {
    const at = next() % (result.length + 1);
    switch (next() % 5) {
      case 0:
        result.splice(at, 1 + (next() % 4));
        break;
      case 1:
        result.splice(at, 0, ...Array.from({ length: 1 + (next() % 9) }, () => next() & 255));
        break;
      case 2:
        result[at] = [0, 1, 127, 128, 255, 0xcf, 0xd3, 0xc6, 0xdd][next() % 9];
        break;
      default:
        result[at] = (result[at] ?? 0) ^ (1 << (next() & 7));
    }
  }
  return Uint8Array.from(result);
}

/** Run a decoder on many mutations of some bytes. */
function attack(seeds, few, decode, seed) {
  const count = few * SCALE;
  const next = numbers(seed);
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const bytes = mutate(seeds[i % seeds.length], next);
    try {
      decode(bytes, next);
    } catch (error) {
      assert.ok(error instanceof ReadError, `${error.stack}\n${Buffer.from(bytes).toString("hex")}`);
      refused++;
    }
  }
  assert.ok(refused > count / 4, `only ${refused} of ${count} were refused`);
}

/** The stored objects, blocks and manifest parts of all good vectors, as a verifying reader meets them. */
async function collect() {
  const seeds = { pages: [], plans: [], deletions: [], metadata: [], tables: [], blocks: [], models: { 2: [], 4: [], 5: [], 6: [] } };
  for (const name of names("good")) {
    const reader = await openVector(unpack(name));
    const files = reader.file === undefined ? [] : [reader.file];
    for (const [number, record] of (reader.root?.pages ?? []).entries()) {
      const { page } = await reader.page(number);
      seeds.pages.push(await reader.part(record.page, "TOKSPAGE"));
      seeds.plans.push(await reader.part(record.plan, "TOKSPLAN"));
      if (record.deletions !== null) seeds.deletions.push(await reader.part(record.deletions, "TOKSDELS"));
      for (const line of page.files) files.push(await reader.files.dataFile(line, page));
    }
    for (const file of files) {
      for (const part of file.columns.values()) {
        if (!part.isReadable) continue;
        await part.load();
        const context = await part.context();
        const stored = await part.blockBytes(0, part.entry.blocks);
        for (let b = 0; b < stored.length; b++) {
          if (stored[b].length > 5000) continue;
          const g = b % part.widths.length;
          seeds.blocks.push({
            bytes: stored[b], form: part.form[b], n: part.values[b], width: part.widths[g], context,
            firstDimension: g === 0 ? 0 : part.column.meaning.groups[g - 1], meaning: part.column.meaning,
          });
        }
        if (part.entry.hasObject) {
          const { kind, content } = await file.object(part.entry.object);
          if (content.length < 5000) seeds.models[kind]?.push({ content, part });
        }
        if (!part.entry.isTableZstd) seeds.tables.push(await file.range(part.entry.table.offset, part.entry.table.bytes));
      }
    }
  }
  return seeds;
}

const seeds = await collect();
const zstd = await loadZstd();

test("the parts of manifests", () => {
  attack(seeds.pages, 5000, (bytes) => new Page(bytes), 1);
  attack(seeds.plans, 2500, (bytes) => parsePlan(bytes, 1), 2);
  attack(seeds.deletions, 2500, (bytes) => parseDeletions(bytes, [10, 10], 2), 3);
  attack([...seeds.pages, ...seeds.plans], 5000, (bytes) => parseMetadata(bytes), 4);
  attack(seeds.pages.map((content) => Buffer.concat([Buffer.from("TOKSPAGE"), Buffer.alloc(16), content])), 5000,
    (bytes) => unwrap(bytes, "TOKSPAGE", zstd), 5);
});

test("the models of codecs", () => {
  const contents = (kind) => seeds.models[kind].map(({ content }) => content);
  attack(contents(2), 5000, (bytes) => parseRankTable(bytes), 6);
  attack(contents(4), 5000, (bytes, next) => parseVectorModel(bytes, 1 + (next() % 6)), 7);
  attack(contents(5), 2500, (bytes) => parseCodeModel(bytes, 50, 2), 8);
  attack(contents(6), 5000, (bytes) => parseCategories(bytes), 9);
});

test("blocks of every codec", () => {
  const next = numbers(10);
  let refused = 0;
  const count = 15000 * SCALE;
  for (let i = 0; i < count; i++) {
    const one = seeds.blocks[i % seeds.blocks.length];
    const bytes = mutate(one.bytes, next);
    const n = next() % 4 === 0 ? 1 + (next() % (2 * one.n)) : one.n;
    const form = next() % 4 === 0 ? next() & 255 : one.form;
    try {
      const block = new StoredBlock(bytes, form, n, one.width, one.context);
      block.firstDimension = one.firstDimension;
      assert.equal(decodeBlock(block).length, n);
    } catch (error) {
      assert.ok(error instanceof ReadError, `${error.stack}\n${form} ${n} ${Buffer.from(bytes).toString("hex")}`);
      refused++;
    }
  }
  assert.ok(refused > count / 4);
});

test("packed arrays and ranges", () => {
  attack(seeds.tables, 5000, (bytes, next) => {
    const cursor = new Cursor(bytes, "a test");
    cursor.packed(next() % 20, "numbers");
    cursor.packedHalves(next() % 20, "numbers");
    new Ranges(cursor, next() % 5, ["u64", "f32", "text"][next() % 3]);
  }, 11);
});

test("every cut of a file is truncated", async () => {
  const vector = unpack("good/missing_tokens");
  for (let size = 0; size < vector.body.length; size++) {
    await assert.rejects(openVector({ ...vector, body: vector.body.subarray(0, size) }), { kind: "truncated" }, `${size} bytes`);
  }
});

test("a flipped bit gives the same values or an error", async () => {
  const vector = unpack("good/four_columns");
  const want = vector.json;
  for (let at = 0; at < vector.body.length; at++) {
    const body = vector.body.slice();
    body[at] ^= 1 << at % 8;
    try {
      assert.equal(`${toJson(describe(await verify(await openVector({ ...vector, body }))))}\n`, want);
    } catch (error) {
      assert.ok(error instanceof ReadError, error.stack);
    }
  }
});

/** Read every row of a reader, and every column from front to back. */
async function readAll(reader) {
  for (let i = 0; i < Math.min(reader.length, 50); i++) await reader.row(i);
  for (const { name } of reader.columns) {
    let count = 0;
    for await (const values of reader.pieces(name)) if ((count += values.length) > 1000) break;
  }
}

/** Try mutations that have right checksums; `make` gives a vector with one, or throws when it cannot. */
async function attackWhole(names, few, make, seed) {
  const next = numbers(seed);
  const vectors = names.map((name) => unpack(name)).filter(({ body }) => body.length < 9000);
  let refused = 0;
  for (let i = 0; i < few * SCALE; i++) {
    const vector = make(vectors[i % vectors.length], next);
    try {
      await readAll(await openVector(vector));
    } catch (error) {
      assert.ok(error instanceof ReadError, `${vector.name}: ${error.stack}`);
      refused++;
    }
  }
  assert.ok(refused > (few * SCALE) / 4, `only ${refused} were refused`);
}

/** Change bits or bytes of a part, but not its length. */
function strike(bytes, next) {
  for (let changes = 1 + (next() % 2); changes > 0; changes--) {
    const at = next() % bytes.length;
    bytes[at] = next() % 2 === 0 ? bytes[at] ^ (1 << (next() & 7)) : [0, 1, 127, 128, 255][next() % 5];
  }
}

/** Strike a table, a rows section, a block or the index of a file, and make all checksums right again. */
function strikeFile(vector, next) {
  const body = vector.body.slice();
  const view = new DataView(body.buffer);
  const end = body.length - 64;
  const [indexAt, indexBytes] = [Number(view.getBigUint64(end + 16, true)), Number(view.getBigUint64(end + 24, true))];
  const nonce = view.getBigUint64(24, true);
  const columns = view.getUint32(indexAt + 8, true);
  const entry = indexAt + 32 + 160 * (next() % columns);
  const id = view.getUint32(entry, true);
  const [table, rows] = [48, 80].map((at) => [entry + at, Number(view.getBigUint64(entry + at, true)), Number(view.getBigUint64(entry + at + 8, true))]);
  const [[at, offset, length], number] = next() % 2 === 0 ? [table, TABLE] : [rows, ROWS_SECTION];
  if (next() % 3 > 0 && length > 0) {
    const part = body.subarray(offset, offset + length);
    strike(part, next);
    view.setBigUint64(at + 24, xxh64(part, seedOf(nonce, id, number)), true);
  } else {
    strike(body.subarray(indexAt, indexAt + indexBytes), next);
  }
  view.setBigUint64(end + 32, xxh64(body.subarray(indexAt, end), seedOf(nonce, 2 ** 32 - 1, 2 ** 32 - 1)), true);
  view.setBigUint64(end + 56, xxh64(body.subarray(end, end + 56)), true);
  return { ...vector, body };
}

/** Strike the newest root of a store, inline pages included, and make its checksum right again. */
function strikeRoot(vector, next) {
  const roots = vector.files.map(([path]) => path).filter((path) => path.startsWith("manifests/")).sort();
  const files = vector.files.map(([path, bytes]) => {
    if (path !== roots.at(-1)) return [path, bytes];
    const copy = bytes.slice();
    const end = copy.length - 8;
    strike(copy.subarray(8, end), next);
    new DataView(copy.buffer).setBigUint64(end, xxh64(copy.subarray(0, end)), true);
    return [path, copy];
  });
  return { ...vector, files };
}

test("wrong numbers under right checksums", async () => {
  const good = names("good");
  await attackWhole(good.filter((name) => unpack(name).files === null), 4000, strikeFile, 12);
  await attackWhole(good.filter((name) => unpack(name).files?.length > 3), 2000, strikeRoot, 13);
});
