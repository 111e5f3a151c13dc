// JSON files with a checksum: `tokstore.json` and `latest` (format.md 2.6).

import { utf8 } from "./bytes.mjs";
import { ReadError, corrupt, need } from "./failure.mjs";
import { xxh64 } from "./xxh64.mjs";

const RULE = "format.md 2.6";
const MEMBER = /\s*"((?:[^"\\]|\\.)*)"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(0|[1-9][0-9]*))\s*/y;

/**
 * Parse the bytes of a JSON file and check its checksum.
 * @returns {Map<string, string | bigint>}
 */
export function parseJsonFile(bytes) {
  need(bytes.length <= 65536, "a JSON file of more than 64 KiB", RULE);
  const text = utf8(bytes, "the file", RULE);
  const members = parse(text);
  const checksum = members.get("checksum");
  if (checksum === undefined) throw new ReadError("checksum", "there is no checksum", RULE);
  members.delete("checksum");
  const encoder = new TextEncoder();
  const lines = [...members].map(([key, value]) => [encoder.encode(key), encoder.encode(`${key}=${value}\n`)]);
  lines.sort(([a], [b]) => compareBytes(a, b));
  const all = new Uint8Array(lines.reduce((total, [, line]) => total + line.length, 0));
  let at = 0;
  for (const [, line] of lines) {
    all.set(line, at);
    at += line.length;
  }
  const found = xxh64(all).toString(16).padStart(16, "0");
  if (checksum !== found) {
    throw new ReadError("checksum", `the checksum is ${found}, the file says ${checksum}`, RULE);
  }
  return members;
}

const MOST_TEXT = 16384;
const MOST_DEPTH = 64;

/** Check that the metadata of a user is one JSON object within the limits (2.8); null where there is none. */
export function needMetadata(text) {
  if (text === undefined) return null;
  const rule = "format.md 2.8";
  const bytes = new TextEncoder().encode(text).length;
  need(bytes <= MOST_TEXT, `metadata of ${bytes} bytes`, "format.md 11");
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw corrupt("the metadata is no JSON", rule);
  }
  const isNested = (one) => typeof one === "object" && one !== null;
  need(isNested(value) && !Array.isArray(value), "the metadata is no JSON object", rule);
  let depth = 0;
  for (let level = [value]; level.length > 0; depth++) level = level.flatMap((one) => Object.values(one).filter(isNested));
  need(depth <= MOST_DEPTH, `metadata of ${depth} objects and arrays inside each other`, "format.md 11");
  return text;
}

/** Order bytes, the lowest first. */
export function compareBytes(a, b) {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Read members one by one, since JSON.parse hides a member that occurs twice and rounds integers. */
function parse(text) {
  try {
    JSON.parse(text);
  } catch {
    throw corrupt("the file is no JSON", RULE);
  }
  const members = new Map();
  const body = /^\s*\{([^]*)\}\s*$/.exec(text);
  need(body !== null, "the file is no JSON object", RULE);
  if (/^\s*$/.test(body[1])) return members;
  MEMBER.lastIndex = 0;
  for (;;) {
    const member = MEMBER.exec(body[1]);
    need(member !== null, "a member is no string and no integer from 0 on", RULE);
    const key = JSON.parse(`"${member[1]}"`);
    need(!/\p{Cs}/u.test(key), "half of a surrogate pair has no UTF-8", RULE);
    need(!members.has(key), `the member ${key} occurs twice`, RULE);
    const value = member[3] === undefined ? JSON.parse(`"${member[2]}"`) : BigInt(member[3]);
    need(typeof value !== "string" || !/\p{Cs}/u.test(value), "half of a surrogate pair has no UTF-8", RULE);
    need(typeof value === "string" || value < 2n ** 63n, `${key} is above 2^63 - 1`, RULE);
    members.set(key, value);
    const at = MEMBER.lastIndex;
    if (at === 0 || at === body[1].length) return members;
    need(body[1][at] === ",", "the members are not separated by commas", RULE);
    MEMBER.lastIndex = at + 1;
  }
}
