// Staged parts and saved views, from bytes to values (format.md 8.6, 8.7).

import { hex, sums } from "./bytes.mjs";
import { need } from "./failure.mjs";
import { IDS, Page, parsePlan, unwrap, unwrapSealed } from "./manifest.mjs";
import { isInteger, needFields, needKind, packedBin, parseMetadata } from "./metadata.mjs";
import { parseColumn, parseColumns } from "./schema.mjs";

/** Parse the bytes of a staged part (8.6). */
export function parsePart(bytes, zstd) {
  const rule = "format.md 8.6";
  const fields = needFields(parseMetadata(unwrapSealed(bytes, "TOKSPART", rule, zstd)),
    { 1: "bytes", 2: "integer", 3: "bytes", 4: "bytes", 5: "map", 6: "array", 7: "bytes", 8: "map?" }, "a part", rule);
  need(fields.get(1).length === 16, "the nonce of a part has 16 bytes", rule);
  need(fields.get(2) >= 1, "a part was begun in version 0", rule);
  need(fields.get(7).length % 32 === 0, "the digest of an object is cut", rule);
  const part = {
    nonce: hex(fields.get(1)),
    begun: fields.get(2),
    columns: parseColumns(fields.get(6), rule),
    page: new Page(unwrap(fields.get(3), "TOKSPAGE", zstd)),
    totals: fields.get(5),
    column: fields.has(8) ? parseColumn(fields.get(8)) : null,
  };
  part.plan = parsePlan(unwrap(fields.get(4), "TOKSPLAN", zstd), part.page.shards);
  for (let at = 0; at < fields.get(7).length; at += 32) {
    const digest = hex(fields.get(7).subarray(at, at + 32));
    need(part.page.objects.has(digest), `the page does not name the object ${digest}`, rule);
  }
  if (part.column !== null) checkPartColumn(part, fields.get(8), fields.get(6), rule);
  return part;
}

/** Compare the column that a part is for with the one that holds its values. */
function checkPartColumn(part, record, records, rule) {
  need(part.columns.length === 1, "a part of a column has other columns", rule);
  const [held] = part.columns;
  need(part.column.id === 0 && held.id === 0, "a part of a column gives it an id", rule);
  const asGiven = new Map([...record.get(4)].filter(([key]) => key < 5 || key > 7).map(([key, x]) => [key, key === 4 ? 0 : x]));
  const parameters = records[0].get(4);
  const isSame = sameValue(parameters, record.get(4)) || (held.type === 3 && sameValue(parameters, asGiven));
  need(held.type === part.column.type && held.optional === part.column.optional && isSame,
    "a part of a column holds values of another type", rule);
}

/** Whether two metadata values are equal. */
function sameValue(a, b) {
  if (a instanceof Map) return b instanceof Map && sameValue([...a], [...b]);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((x, i) => sameValue(x, b[i]));
  return a === b || (typeof a === "object" && typeof b === "object" && a.value !== undefined && Object.is(a.value, b.value));
}

const VIEW = {
  1: "bytes", 2: "integer", 3: "integer", 4: "integer", 5: "integer", 6: "bytes", 7: "bytes", 8: "bytes?", 9: "bytes?",
  10: "array?", 11: "array",
};

/** Parse the bytes of a saved view (8.7) of the store with an id. */
export function parseView(bytes, storeId, zstd) {
  const rule = "format.md 8.7";
  const fields = needFields(parseMetadata(unwrapSealed(bytes, "TOKSVIEW", rule, zstd, 2 ** 30)), VIEW, "a view", rule);
  need(hex(fields.get(1)) === storeId, "the view is of another store", rule);
  const samples = Number(fields.get(4));
  const runs = Number(fields.get(5));
  // First ids ascend, and an order has no number twice: no item takes less than a byte, apart from the first.
  need(runs <= Math.max(1, fields.get(6).length), `${runs} runs in ${fields.get(6).length} bytes`, rule);
  const first = packedBin(fields.get(6), runs, "first ids", 0, IDS - 1);
  const count = packedBin(fields.get(7), runs, "samples of runs", 1);
  const starts = sums(count);
  need(starts[runs] === samples, `the runs have ${starts[runs]} samples, not ${samples}`, rule);
  for (let i = 0; i < runs; i++) {
    need(count[i] <= IDS - first[i], "a sample id is not below 2^53", "format.md 7.2");
    need(i === 0 || first[i] > first[i - 1] + count[i - 1], "runs touch or do not ascend", rule);
  }
  let order = null;
  if (fields.has(8)) {
    need(samples <= Math.max(1, fields.get(8).length), `an order of ${samples} samples`, rule);
    order = packedBin(fields.get(8), samples, "order", 0, Math.max(0, samples - 1));
    need(new Set(order).size === samples, "a sample comes twice in the order", rule);
  }
  let weights = null;
  if (fields.has(9)) {
    need(fields.get(9).length === 4 * samples, `${fields.get(9).length} bytes of weights`, rule);
    weights = new Uint32Array(fields.get(9).slice().buffer);
  }
  const columns = fields.get(10) ?? null;
  if (columns !== null) {
    need(columns.length >= 1, "a view without columns", rule);
    columns.forEach((id, i) => {
      need(isInteger(id) && id >= 0 && id <= 2 ** 32 - 2, `the column id ${id}`, rule);
      need(i === 0 || id > columns[i - 1], "column ids do not ascend", rule);
    });
  }
  for (const verb of fields.get(11)) needKind(verb, "string", "a verb", rule);
  return {
    version: fields.get(2), created: fields.get(3), samples, first, count, starts, order, weights, columns,
    verbs: fields.get(11),
  };
}
