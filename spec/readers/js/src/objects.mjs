// Objects that several files may share (format.md 5).

import { hex, isZero, magicOf, u64, viewOf } from "./bytes.mjs";
import { blake2b } from "./blake2b.mjs";
import { ReadError, need } from "./failure.mjs";

const RULE = "format.md 5";
export const ATTACHMENT = 1, RANK_TABLE = 2, DICTIONARY = 3, VECTOR_MODEL = 4, CODE_MODEL = 5, CATEGORY_LIST = 6;
export const MOST_CONTENT = 2 ** 30;

/** Throw `checksum` unless bytes have a digest, given as hexadecimal digits. */
export function needDigest(bytes, digest, what, rule) {
  const found = hex(blake2b(bytes));
  if (found !== digest) throw new ReadError("checksum", `${what} has the digest ${found}, not ${digest}`, rule);
}

/**
 * Parse the stored bytes of an object.
 * @param {{digest: string, storedBytes: number, contentBytes: number, kind: number}} entry what its parent says
 * @returns {{kind: number, content: Uint8Array}}
 */
export function parseObject(bytes, entry, zstd) {
  if (bytes.length < entry.storedBytes) {
    throw new ReadError("truncated", `an object of ${bytes.length} bytes, not ${entry.storedBytes}`, RULE);
  }
  need(bytes.length === entry.storedBytes, `an object of ${bytes.length} bytes, not ${entry.storedBytes}`, RULE);
  needDigest(bytes, entry.digest, "an object", RULE);
  need(bytes.length >= 16 && magicOf(bytes.subarray(0, 4)) === "TOKO", "an object without its magic", RULE);
  const view = viewOf(bytes);
  const kind = view.getUint16(4, true);
  const contentBytes = u64(view, 8);
  need(bytes[6] <= 1, `encoding ${bytes[6]}`, RULE, 6);
  need(isZero(bytes.subarray(7, 8)), "a reserved byte is set", RULE, 7);
  need(contentBytes <= MOST_CONTENT, `content of ${contentBytes} bytes`, "format.md 11");
  need(kind === entry.kind, `an object of kind ${kind}, not ${entry.kind}`, "format.md 4.8");
  need(contentBytes === entry.contentBytes, `content of ${contentBytes} bytes, not ${entry.contentBytes}`, "format.md 4.8");
  const stored = bytes.subarray(16);
  if (bytes[6] === 1) return { kind, content: zstd.decode(stored, contentBytes, contentBytes) };
  need(stored.length === contentBytes, `content of ${stored.length} bytes, not ${contentBytes}`, RULE);
  return { kind, content: stored };
}
