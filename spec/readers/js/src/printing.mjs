// What was found, as the JSON of spec/vectors/README.md.

import { bytesOf, hex, utf8 } from "./bytes.mjs";
import { blake2b } from "./blake2b.mjs";
import { DTYPES } from "./dtypes.mjs";
import { Float } from "./metadata.mjs";
import { BYTES, CATEGORY, SOFT_LABEL, TEXT, TOKENS } from "./schema.mjs";

const LONGEST_TOKENS = 64;
const LONGEST_BYTES = 256;

/** Describe what `verify` found with plain objects, lists and strings. */
export function describe(found) {
  const result = {
    attachments: Object.fromEntries([...found.attachments].map(([name, bytes]) => [name, shortBytes(bytes)])),
    metadata: found.metadata,
    ...describeSamples(found),
  };
  if (found.store !== undefined) {
    const { id, version, tags } = found.store;
    result.store = { id, version: String(version), tags: Object.fromEntries(tags.map(([name, at]) => [name, String(at)])) };
    if (found.parts.size > 0) result.parts = Object.fromEntries([...found.parts].map(([name, part]) => [name, describePart(part)]));
    if (found.views.size > 0) {
      result.views = Object.fromEntries([...found.views].map(([name, one]) => [name, describeView(one, found.ids)]));
    }
  }
  return result;
}

function describeSamples({ schema, ids, rows, refused, spans }) {
  return {
    columns: schema.map(describeColumn),
    refused: [...refused].sort(),
    samples: ids.map((id, i) => {
      // Entries, since a column may be named __proto__.
      const here = schema.filter(({ name }) => rows.has(name));
      return Object.fromEntries([["id", String(id)], ...here.map((column) => [column.name, describeValue(column, rows.get(column.name)[i])])]);
    }),
    spans: spans.map((shard) => shard.map((span) => span.map(String))),
  };
}

function describePart({ found, begun, nonce, column }) {
  return {
    ...describeSamples(found), begun: String(begun), nonce, column: column === null ? null : describeColumn(column),
  };
}

function describeView({ view, chosen }, ids) {
  return {
    columns: chosen.columns,
    columns_left_out: String(chosen.columnsLeftOut),
    created: String(chosen.created),
    left_out: String(chosen.leftOut),
    samples: Array.from(chosen.positions, (position) => String(ids[position])),
    verbs: chosen.verbs,
    version: String(chosen.version),
    weights: view.weights === null ? null : Array.from(chosen.weights, (weight) => String(weight * 65536)),
  };
}

function describeColumn(column) {
  return {
    id: String(column.id),
    name: column.name,
    optional: column.optional,
    parameters: plain(column.parameters),
    type: String(column.type),
  };
}

/** Turn a metadata value into JSON. */
function plain(value) {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return hex(value);
  if (value instanceof Float) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value.value);
    return hex(new Uint8Array(view.buffer));
  }
  return typeof value === "number" || typeof value === "bigint" ? String(value) : value;
}

/** One sample of a column. */
function describeValue(column, row) {
  if (row === null) return null;
  const { stored, context } = row;
  const { type, meaning } = column;
  switch (type) {
    case TEXT:
      return stored.length <= LONGEST_BYTES ? utf8(stored, "a sample", "codecs.md 4") : long(stored);
    case CATEGORY: {
      const name = context.object[stored[0]];
      const bytes = new TextEncoder().encode(name);
      return bytes.length <= LONGEST_BYTES ? name : long(bytes);
    }
    case BYTES:
      return shortBytes(stored);
    case TOKENS:
      if (stored.length > LONGEST_TOKENS) return long(stored);
      break;
    default:
  }
  const isInteger = context.codec === 5 || !DTYPES[meaning.dtype].isFloat;
  const digits = 2 * DTYPES[meaning.dtype].bytes;
  const scalars = Array.from(stored, (value) => (isInteger ? String(value) : value.toString(16).padStart(digits, "0")));
  if (meaning.shape === null) return scalars[0];
  return type === SOFT_LABEL ? scalars : nested(scalars, meaning.shape.slice(1));
}

/** Put values in lists of the inner axes, the last one first. */
function nested(values, inner) {
  for (const size of inner.toReversed()) {
    const lists = [];
    for (let at = 0; at < values.length; at += size) lists.push(values.slice(at, at + size));
    values = lists;
  }
  return values;
}

function shortBytes(bytes) {
  return bytes.length <= LONGEST_BYTES ? hex(bytes) : long(bytes);
}

/** Stand for many values by their count and the digest of their bytes. */
function long(values) {
  return { blake2b: hex(blake2b(bytesOf(values))), values: String(values.length) };
}

/** Write sorted JSON as Python's `json.dumps` does: ASCII, a blank after commas and colons. */
export function toJson(value) {
  if (Array.isArray(value)) return `[${value.map(toJson).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value).sort(byCodePoint);
    return `{${keys.map((key) => `${toJson(key)}: ${toJson(value[key])}`).join(", ")}}`;
  }
  return JSON.stringify(value).replace(/[\u0080-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function byCodePoint(a, b) {
  const [x, y] = [a, b].map((text) => Array.from(text, (one) => one.codePointAt(0)));
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i] - y[i];
  return x.length - y.length;
}
