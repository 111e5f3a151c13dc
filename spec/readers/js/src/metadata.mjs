// The narrow msgpack of format.md 2.4: a map is a Map, bytes are a Uint8Array, a float is a Float, and an integer is a
// number, or a BigInt where it is beyond 2^53 - 1.

import { Cursor, utf8 } from "./bytes.mjs";
import { corrupt, need } from "./failure.mjs";

const RULE = "format.md 2.4";
const DEEPEST = 4;

/** A float, kept apart from the integers. */
export class Float {
  constructor(value) {
    this.value = value;
  }
}

/** Parse one msgpack value that fills its bytes. */
export function parseMetadata(bytes) {
  const cursor = new Cursor(bytes, RULE);
  const value = item(cursor, 0);
  cursor.end();
  return value;
}

function item(cursor, depth) {
  const at = cursor.at;
  const tag = cursor.u8("a value");
  if (tag < 0x80) return tag;
  if (tag < 0x90) return map(cursor, tag & 15, depth);
  if (tag < 0xa0) return array(cursor, tag & 15, depth);
  if (tag < 0xc0) return string(cursor, tag & 31);
  if (tag >= 0xe0) return tag - 256;
  switch (tag) {
    case 0xc2:
    case 0xc3:
      return tag === 0xc3;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return cursor.take(count(cursor, tag - 0xc4, [0, 256, 65536], at), "a bin").slice();
    case 0xcb:
      cursor.take(8, "a float");
      return new Float(cursor.view.getFloat64(cursor.at - 8));
    case 0xcc:
    case 0xcd:
    case 0xce:
      return count(cursor, tag - 0xcc, [128, 256, 65536], at);
    case 0xcf:
      cursor.take(8, "an integer");
      return shortest(cursor.view.getBigUint64(cursor.at - 8), (value) => value >= 2n ** 32n, at);
    case 0xd0:
      cursor.take(1, "an integer");
      return shortest(cursor.view.getInt8(cursor.at - 1), (value) => value < -32, at);
    case 0xd1:
      cursor.take(2, "an integer");
      return shortest(cursor.view.getInt16(cursor.at - 2), (value) => value < -128, at);
    case 0xd2:
      cursor.take(4, "an integer");
      return shortest(cursor.view.getInt32(cursor.at - 4), (value) => value < -32768, at);
    case 0xd3:
      cursor.take(8, "an integer");
      return shortest(cursor.view.getBigInt64(cursor.at - 8), (value) => value < -(2n ** 31n), at);
    case 0xd9:
    case 0xda:
    case 0xdb:
      return string(cursor, count(cursor, tag - 0xd9, [32, 256, 65536], at));
    case 0xdc:
    case 0xdd:
      return array(cursor, count(cursor, tag - 0xdb, [0, 16, 65536], at), depth);
    case 0xde:
    case 0xdf:
      return map(cursor, count(cursor, tag - 0xdd, [0, 16, 65536], at), depth);
    default:
      throw corrupt(`the tag ${tag.toString(16)} is not allowed`, RULE, at);
  }
}

/** Read a big-endian number of 1, 2 or 4 bytes that no shorter form could hold. */
function count(cursor, size, smallest, at) {
  const bytes = cursor.take(1 << size, "a length or an integer");
  const value = bytes.reduce((total, byte) => total * 256 + byte, 0);
  need(value >= smallest[size], `${value} is not in the shortest form`, RULE, at);
  return value;
}

function shortest(value, isShortest, at) {
  need(isShortest(value), `${value} is not in the shortest form`, RULE, at);
  return typeof value === "bigint" && value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER
    ? Number(value)
    : value;
}

function string(cursor, length) {
  return utf8(cursor.take(length, "a string"), "a string", RULE);
}

function array(cursor, length, depth) {
  need(depth <= DEEPEST, `an array at depth ${depth}`, RULE, cursor.at);
  need(length <= cursor.left, `an array of ${length} items in ${cursor.left} bytes`, RULE, cursor.at);
  const items = [];
  for (let i = 0; i < length; i++) items.push(item(cursor, depth + 1));
  return items;
}

function map(cursor, length, depth) {
  need(depth <= DEEPEST, `a map at depth ${depth}`, RULE, cursor.at);
  need(2 * length <= cursor.left, `a map of ${length} items in ${cursor.left} bytes`, RULE, cursor.at);
  const items = new Map();
  let before = -1;
  for (let i = 0; i < length; i++) {
    const key = item(cursor, depth + 1);
    need(isInteger(key) && key >= 0, "a key that is no integer from 0 on", RULE, cursor.at);
    need(key > before, "keys do not ascend", RULE, cursor.at);
    before = key;
    items.set(key, item(cursor, depth + 1));
  }
  return items;
}

export function isInteger(value) {
  return typeof value === "number" || typeof value === "bigint";
}

const KINDS = {
  integer: (value) => isInteger(value) && value >= 0,
  float: (value) => value instanceof Float,
  string: (value) => typeof value === "string",
  bytes: (value) => value instanceof Uint8Array,
  boolean: (value) => typeof value === "boolean",
  array: (value) => Array.isArray(value),
  map: (value) => value instanceof Map,
};

/** Throw unless a value is of one of the kinds of 2.4; "integer" is one from 0 on. */
export function needKind(value, kind, what, rule = RULE) {
  need(KINDS[kind](value), `${what} is not of kind ${kind}`, rule);
  return value;
}

/**
 * Check a map whose keys are listed: the kind of every value, and that no key is unknown or lacking.
 * @param {unknown} value
 * @param {Record<number, string>} kinds key -> kind, with a question mark behind it where the key is optional
 */
export function needFields(value, kinds, what, rule = RULE) {
  needKind(value, "map", what, rule);
  for (const [key, kind] of Object.entries(kinds)) {
    const found = value.get(Number(key));
    if (found === undefined) need(kind.endsWith("?"), `${what} has no key ${key}`, rule);
    else needKind(found, kind.replace("?", ""), `key ${key} of ${what}`, rule);
  }
  for (const key of value.keys()) need(key in kinds || key >= 128, `${what} has the unknown key ${key}`, rule);
  return value;
}

/** Read the packed array that fills a bin. */
export function packedBin(bin, n, what, low, high) {
  const cursor = new Cursor(bin, "format.md 2.3");
  const values = cursor.packed(n, what, low, high);
  cursor.end();
  return values;
}
