// Roots, pages, plans and deletions, from bytes to values (format.md 8.1 to 8.5).

import { Cursor, hex, isZero, lastNotAbove, magicOf, sum, sums, u64, viewOf } from "./bytes.mjs";
import { DTYPES } from "./dtypes.mjs";
import { needChecksum, needFeatures, needVersion } from "./entries.mjs";
import { ReadError, need } from "./failure.mjs";
import { compareBytes, needMetadata } from "./jsonfile.mjs";
import { isInteger, needFields, needKind, packedBin, parseMetadata } from "./metadata.mjs";
import { needDigest } from "./objects.mjs";
import { Ranges, rangeKind } from "./ranges.mjs";
import { parseColumns } from "./schema.mjs";
import { checkConstants } from "./values.mjs";

export const MOST_ROOT = 65536;
export const MOST_PART = 2 ** 26;
const MOST_PAGE = 2 ** 19;
const MOST_SPANS = 2 ** 22;
const MOST_SHARDS = 1024;
const MOST_ROWS = 2 ** 24;
export const IDS = 2 ** 53; // sample ids are below it

function truncated(what, rule) {
  return new ReadError("truncated", what, rule);
}

const BODY = {
  1: "bytes", 2: "integer", 3: "integer?", 4: "bytes", 5: "integer", 6: "array", 7: "integer", 8: "integer", 9: "array",
  10: "bytes", 11: "map", 12: "map?", 13: "string?", 14: "map?", 15: "map?", 16: "array", 17: "bytes?",
};

/** Parse the bytes of a root. */
export function parseRoot(bytes) {
  const rule = "format.md 8.1";
  need(bytes.length <= MOST_ROOT, `a root of more than ${MOST_ROOT} bytes`, "format.md 11");
  need("TOKSROOT".startsWith(magicOf(bytes.subarray(0, 8))), "the file is no root", rule, 0);
  if (bytes.length < 40) throw truncated("the root ends in its header", rule);
  const view = viewOf(bytes);
  const bodyBytes = view.getUint32(24, true);
  const said = 40 + bodyBytes + view.getUint32(28, true);
  if (bytes.length < said) throw truncated(`the root has ${bytes.length} of ${said} bytes`, rule);
  const end = bytes.length - 8;
  needChecksum(bytes.subarray(0, end), 0n, view, end, "the root", rule, end);
  need(bytes.length === said, "bytes follow the root", rule);
  needVersion(view.getUint16(8, true), rule, 8);
  needFeatures(view.getUint32(20, true), "the version");
  const body = needFields(parseMetadata(bytes.subarray(32, 32 + bodyBytes)), BODY, "the body of a root", rule);
  const root = {
    body,
    storeId: hex(body.get(1)),
    version: Number(body.get(2)),
    columns: parseColumns(body.get(6), rule),
    nextSampleId: Number(body.get(7)),
    metadata: needMetadata(body.get(13)),
    attachments: numbered(body.get(12), ["string", "bytes", "integer", "integer"], "an attachment"),
    tags: numbered(body.get(14), ["string", "integer"], "a tag"),
  };
  checkBody(root);
  root.pages = parseRecords(body.get(10), bytes.subarray(32 + bodyBytes, end));
  return root;
}

function checkBody({ body, columns, version, tags, attachments }) {
  const rule = "format.md 8.1";
  need(body.get(1).length === 16 && body.get(4).length === 16, "store id and nonce have 16 bytes", rule);
  need(version >= 1 && (body.has(3) === version > 1) && (body.get(3) ?? 0) < version, "the parent of the version", rule);
  need(body.get(7) <= IDS, `next_sample_id is ${body.get(7)}`, "format.md 7.2");
  need(body.get(8) < 2 ** 32, `next_column_id is ${body.get(8)}`, rule);
  for (const column of columns) need(column.id < body.get(8), `column id ${column.id} is not below next_column_id`, rule);
  const totals = body.get(9);
  need(totals.length === 5 && totals.every((x) => isInteger(x) && x >= 0), "the totals are not five integers", rule);
  for (const [, digest] of attachments) need(digest.length === 32, "the digest of an attachment", rule);
  for (let i = 1; i < tags.length; i++) {
    const [before, after] = [tags[i - 1][0], tags[i][0]].map((name) => new TextEncoder().encode(name));
    need(compareBytes(before, after) < 0, "tags do not ascend", rule);
  }
  for (const pair of (body.get(15) ?? new Map()).values()) {
    needItems(pair, ["bytes", "integer"], "the current object of a column", rule);
    need(pair[0].length === 32, "the digest of the current object of a column", rule);
  }
  needItems(body.get(16), ["string", "integer"], "what made the version", rule);
  need((body.get(17)?.length ?? 0) % 16 === 0, "the nonce of a part is cut", rule);
}

/** Check the kinds of the items of an array. */
function needItems(items, kinds, what, rule) {
  need(Array.isArray(items) && items.length === kinds.length, `${what} has not ${kinds.length} items`, rule);
  items.forEach((value, i) => needKind(value, kinds[i], what, rule));
}

/** The arrays in a map whose keys count from 0. */
function numbered(map, kinds, what) {
  const rule = "format.md 8.1";
  const items = [...(map ?? [])];
  items.forEach(([key, item], i) => {
    need(key === i, `the keys of ${what} do not count from 0`, rule);
    needItems(item, kinds, what, rule);
  });
  return items.map(([, item]) => item);
}

/** Parse page records (8.2), with the inline bytes of their pages and plans. */
function parseRecords(bytes, inline) {
  const rule = "format.md 8.2";
  need(bytes.length % 160 === 0, "the page records are cut", rule);
  const records = [];
  let used = 0;
  const ride = (isInline, count) => {
    if (!isInline) return undefined;
    need(used + count <= inline.length, "the inline bytes are cut", rule);
    used += count;
    return inline.subarray(used - count, used);
  };
  for (let at = 0; at < bytes.length; at += 160) {
    const raw = bytes.subarray(at, at + 160);
    const view = viewOf(raw);
    const flags = view.getUint32(108, true);
    const record = {
      page: { folder: "pages", digest: hex(raw.subarray(0, 32)), bytes: view.getUint32(96, true) },
      plan: { folder: "plans", digest: hex(raw.subarray(32, 64)), bytes: view.getUint32(100, true) },
      deletions: { folder: "deletions", digest: hex(raw.subarray(64, 96)), bytes: view.getUint32(104, true) },
      samples: u64(view, 112),
      deleted: u64(view, 120),
      values: u64(view, 128),
      firstSampleId: u64(view, 136),
      lastSampleId: u64(view, 144),
      shards: view.getUint32(152, true),
      spans: view.getUint32(156, true),
    };
    need(flags >> 3 === 0, "a reserved flag of a page record is set", rule);
    need(record.page.bytes <= MOST_PAGE, `a page of ${record.page.bytes} bytes`, "format.md 11");
    need(record.plan.bytes <= 2 * MOST_PART && record.deletions.bytes <= 2 * MOST_PART, "a plan or deletions too large", "format.md 11");
    need(record.shards >= 1 && record.shards <= MOST_SHARDS, `a page of ${record.shards} shards`, "format.md 11");
    need(record.spans <= MOST_SPANS, `a page of ${record.spans} spans`, "format.md 11");
    need(record.samples <= record.shards * MOST_ROWS && record.deleted <= record.samples, "samples of a page record", rule);
    if ((flags & 4) === 0) {
      need(isZero(raw.subarray(64, 96)) && record.deletions.bytes === 0, "deletions without their flag", rule);
      record.deletions = null;
    }
    record.page.inline = ride((flags & 1) !== 0, record.page.bytes);
    record.plan.inline = ride((flags & 2) !== 0, record.plan.bytes);
    records.push(record);
  }
  need(used === inline.length, "inline bytes belong to no page record", "format.md 8.1");
  return records;
}

/** The content of wrapped bytes (8.3). */
export function unwrap(bytes, magic, zstd, most = MOST_PART) {
  const rule = "format.md 8.3";
  need(bytes.length >= 24 && magicOf(bytes.subarray(0, 8)) === magic, `this is no ${magic}`, rule, 0);
  const view = viewOf(bytes);
  needVersion(view.getUint16(8, true), rule, 8);
  need(bytes[12] <= 1, `encoding ${bytes[12]}`, rule, 12);
  need(isZero(bytes.subarray(13, 16)), "a reserved byte is set", rule, 13);
  const size = u64(view, 16);
  need(size <= most, `content of ${size} bytes`, "format.md 11", 16);
  const stored = bytes.subarray(24);
  if (bytes[12] === 1) return zstd.decode(stored, size, size);
  need(stored.length === size, `content of ${stored.length} bytes, not ${size}`, rule, 16);
  return stored;
}

/** The content of a page, plan or deletions, after a check of length and digest. */
export function unwrapDigested(bytes, record, magic, zstd) {
  const rule = "format.md 8.3";
  if (bytes.length < record.bytes) throw truncated(`${bytes.length} bytes, not ${record.bytes}`, rule);
  need(bytes.length === record.bytes, `more than ${record.bytes} bytes`, rule);
  needDigest(bytes, record.digest, magic, rule);
  return unwrap(bytes, magic, zstd);
}

/** The content of wrapped bytes that end in their own checksum (8.6, 8.7). */
export function unwrapSealed(bytes, magic, rule, zstd, most) {
  need(magic.startsWith(magicOf(bytes.subarray(0, 8))), `this is no ${magic}`, rule, 0);
  if (bytes.length < 32) throw truncated("the file ends in its header", rule);
  const end = bytes.length - 8;
  needChecksum(bytes.subarray(0, end), 0n, viewOf(bytes), end, "the file", rule, end);
  return unwrap(bytes.subarray(0, end), magic, zstd, most);
}

const PAGE = {
  1: "integer", 2: "bytes", 3: "bytes", 4: "bytes", 5: "bytes", 6: "bytes", 7: "bytes", 10: "integer", 11: "bytes",
  12: "bytes", 13: "bytes", 14: "bytes", 20: "bytes", 21: "bytes", 22: "bytes", 23: "bytes", 30: "map",
};

/** A page (8.3): its shards, with their sample ids and where each column of each of them is. */
export class Page {
  /** @param {number} [shards] the number that the page record says */
  constructor(content, shards) {
    const rule = "format.md 8.3";
    const fields = needFields(parseMetadata(content), PAGE, "a page", rule);
    const f = Number(fields.get(1));
    const n = Number(fields.get(10));
    need(shards === undefined || n === shards, `a page of ${n} shards, its record says ${shards}`, rule);
    need(n >= 1 && n <= MOST_SHARDS, `a page of ${n} shards`, "format.md 11");
    const cut = (key, count, width) => {
      const bytes = fields.get(key);
      need(bytes.length === count * width, `key ${key} of a page has ${bytes.length} bytes`, rule);
      return (i) => bytes.subarray(i * width, (i + 1) * width);
    };
    const [fileId, fileDigest, checksum] = [cut(2, f, 16), cut(3, f, 32), cut(4, f, 8)];
    const [fileBytes, tailOffset, indexOffset] = [5, 6, 7].map((key) => packedBin(fields.get(key), f, `key ${key} of a page`));
    this.shards = n;
    this.samples = packedBin(fields.get(11), n, "samples", 0, MOST_ROWS);
    this.#parseIds(fields, n, rule);
    const m = fields.get(20).length / 32;
    need(Number.isInteger(m), "the digest of an object is cut", rule);
    const digest = cut(20, m, 32);
    const sizes = packedBin(fields.get(21), m, "sizes of objects");
    this.objects = new Map(Array.from(sizes, (size, i) => [hex(digest(i)), size]));
    const named = packedBin(fields.get(22), f, "objects of files", 0, m);
    const total = sum(named);
    need(total <= Math.max(f, fields.get(23).length), "a file names an object twice", rule);
    const which = packedBin(fields.get(23), total, "objects of files", 0, m - 1);
    let at = 0;
    this.files = Array.from({ length: f }, (_, i) => {
      const objects = Array.from(which.subarray(at, at + named[i]), (number) => hex(digest(number)));
      at += named[i];
      return {
        fileId: hex(fileId(i)), digest: hex(fileDigest(i)), indexChecksum: viewOf(checksum(i)).getBigUint64(0, true),
        fileBytes: fileBytes[i], tailOffset: tailOffset[i], indexOffset: indexOffset[i], objects: new Set(objects),
      };
    });
    this.placements = new Map();
    for (const [id, placement] of fields.get(30)) this.placements.set(Number(id), parsePlacement(placement, n, f));
  }

  #parseIds(fields, n, rule) {
    const runs = packedBin(fields.get(12), n, "id runs");
    // First ids of runs differ, so that none takes less than a byte, apart from the first.
    need(sum(runs) <= Math.max(1, fields.get(13).length), "two runs begin with one id", "format.md 7.2");
    const first = packedBin(fields.get(13), sum(runs), "first ids", 0, IDS - 1);
    const count = packedBin(fields.get(14), sum(runs), "ids of runs", 1, IDS);
    this.ids = [];
    let at = 0;
    for (let s = 0; s < n; s++) {
      const mine = { first: first.subarray(at, at + runs[s]), starts: sums(count.subarray(at, at + runs[s])) };
      need(mine.starts[runs[s]] === this.samples[s], `the id runs of shard ${s} do not add up to its samples`, rule);
      for (let i = 0; i < runs[s]; i++) need(count[at + i] <= IDS - first[at + i], "a sample id is not below 2^53", "format.md 7.2");
      this.ids.push(mine);
      at += runs[s];
    }
  }

  /** The sample id of a row of a shard. */
  sampleId(shard, row) {
    const { first, starts } = this.ids[shard];
    const run = lastNotAbove(starts, row, first.length);
    return first[run] + row - starts[run];
  }
}

function parsePlacement(value, n, f) {
  const fields = needFields(value, { 1: "bytes", 2: "bytes", 3: "bytes", 4: "bytes", 5: "bytes?", 6: "bytes?", 7: "bytes?", 8: "bytes?" },
    "a placement", "format.md 8.3");
  const counts = (key, what) => (fields.has(key) ? packedBin(fields.get(key), n, what) : null);
  return {
    where: packedBin(fields.get(1), n, "where", 0, 1 + f),
    row: packedBin(fields.get(2), n, "rows"),
    values: counts(3, "values"),
    storedBytes: counts(4, "stored bytes"),
    ranges: fields.get(5),
    missing: counts(6, "missing"),
    nan: counts(7, "NaN"),
    constants: fields.get(8) ?? new Uint8Array(0),
  };
}

/** Ranges of a bin over k groups of a column. */
export function rangesOf(bin, k, column) {
  need(rangeKind(column) !== null, `ranges of ${column.name}`, "format.md 4.5");
  const cursor = new Cursor(bin, "format.md 4.5");
  const ranges = new Ranges(cursor, k, rangeKind(column));
  cursor.end();
  return ranges;
}

/** Where the constant of a shard stands among those of its placement: an array of one stored value. */
export function constantsOf(placement, column) {
  const rule = "format.md 8.3";
  const { meaning } = column;
  const bytes = DTYPES[meaning.dtype].bytes;
  const { Array: Stored } = DTYPES[meaning.dtype];
  const shards = [...placement.where.keys()].filter((s) => placement.where[s] === 1);
  if (shards.length > 0) need(meaning.shape === null && column.type !== 8, `column ${column.name} cannot be constant`, rule);
  need(placement.constants.length === shards.length * bytes, `${placement.constants.length} bytes of constants`, rule);
  const values = new Stored(placement.constants.slice().buffer);
  checkConstants(column, values);
  return new Map(shards.map((s, i) => [s, values.subarray(i, i + 1)]));
}

/** Parse the content of a plan (8.4) for n shards. */
export function parsePlan(content, n, spans) {
  const rule = "format.md 8.4";
  const fields = needFields(parseMetadata(content),
    { 1: "integer", 2: "bytes", 3: "bytes", 4: "bytes", 5: "bytes", 6: "bytes" }, "a plan", rule);
  const perShard = packedBin(fields.get(2), n, "spans", 0, MOST_SPANS);
  const total = sum(perShard);
  need(total <= MOST_SPANS, `${total} spans`, "format.md 11");
  need(spans === undefined || total === spans, `a plan of ${total} spans, its record says ${spans}`, rule);
  const [blocks, samples, values, lead] = [3, 4, 5, 6].map((key) => packedBin(fields.get(key), total, `key ${key} of a plan`));
  const starts = sums(perShard);
  return {
    primary: Number(fields.get(1)),
    spans: (s) => Array.from({ length: perShard[s] }, (_, i) => {
      const at = starts[s] + i;
      return [blocks[at], samples[at], values[at], lead[at]];
    }),
    starts,
  };
}

/** Parse the content of deletions (8.5) for shards of so many samples. */
export function parseDeletions(content, samples, spans) {
  const rule = "format.md 8.5";
  const kinds = { 1: "bytes", 2: "bytes", 3: "bytes", 4: "bytes", 5: "bytes", 6: "bytes" };
  const fields = needFields(parseMetadata(content), kinds, "deletions", rule);
  const n = samples.length;
  const runs = packedBin(fields.get(1), n, "runs");
  const total = sum(runs);
  need(total <= Math.max(n, fields.get(2).length), "runs of deletions do not ascend", rule);
  const first = packedBin(fields.get(2), total, "first samples");
  const count = packedBin(fields.get(3), total, "samples of runs", 1);
  const deleted = [];
  let at = 0;
  for (let s = 0; s < n; s++) {
    const mine = [];
    let end = -1;
    for (let i = at; i < at + runs[s]; i++) {
      need(first[i] > end, "runs of deletions touch or do not ascend", rule);
      end = first[i] + count[i];
      need(end <= samples[s], "a run of deletions ends outside its shard", rule);
      mine.push([first[i], end]);
    }
    deleted.push(mine);
    at += runs[s];
  }
  return {
    deleted,
    values: packedBin(fields.get(4), n, "deleted values"),
    samplesLeft: packedBin(fields.get(5), spans, "samples left"),
    valuesLeft: packedBin(fields.get(6), spans, "values left"),
  };
}
