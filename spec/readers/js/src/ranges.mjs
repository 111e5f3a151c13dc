// Ranges: the smallest and largest values of groups (format.md 4.5).

import { isZero, sums, viewOf } from "./bytes.mjs";
import { DTYPES, delivered, isNaNBits } from "./dtypes.mjs";
import { need } from "./failure.mjs";
import { compareBytes } from "./jsonfile.mjs";
import { CATEGORY, TEXT, VECTOR } from "./schema.mjs";

const RULE = "format.md 4.5";
const LONGEST = 32;

/** The kind of ranges that a column can have: "u64", "i64", "f32", "f64", "text", or null. */
export function rangeKind(column) {
  const { type, meaning } = column;
  if (type === TEXT) return "text";
  return type === CATEGORY || type === VECTOR ? null : DTYPES[meaning.dtype].range;
}

/** Ranges of k groups, as bytes of minima and maxima. */
export class Ranges {
  constructor(cursor, k, kind) {
    this.k = k;
    const bits = cursor.take(Math.ceil(k / 8), "the bits of ranges");
    need(k % 8 === 0 || bits[bits.length - 1] >> k % 8 === 0, "a bit past the last range is set", RULE);
    this.bits = bits;
    if (kind === "text") {
      const lows = sums(cursor.packed(k, "lengths of minima", 0, LONGEST));
      const highs = sums(cursor.packed(k, "lengths of maxima", 0, LONGEST));
      const low = cursor.take(lows[k], "minima");
      const high = cursor.take(highs[k], "maxima");
      this.get = (i) => [low.subarray(lows[i], lows[i + 1]), high.subarray(highs[i], highs[i + 1])];
    } else {
      const w = kind === "f32" ? 4 : 8;
      const low = cursor.take(w * k, "minima");
      const high = cursor.take(w * k, "maxima");
      this.get = (i) => [low.subarray(w * i, w * i + w), high.subarray(w * i, w * i + w)];
    }
    for (let i = 0; i < k; i++) {
      if (!this.has(i)) need(this.get(i).every(isZero), `group ${i} has no range, but bytes of one`, RULE);
    }
    if (kind === "text") {
      for (let i = 0; i < k; i++) if (!this.has(i)) need(this.get(i).every((x) => x.length === 0), "bytes without a range", RULE);
    }
  }

  has(i) {
    return ((this.bits[i >> 3] >> (i & 7)) & 1) === 1;
  }

  /** Throw unless range i is what the values give. */
  check(i, extremes) {
    const found = extremes.bytes();
    need(this.has(i) === (found !== null), `group ${i} ${this.has(i) ? "has a" : "lacks its"} range`, RULE);
    if (found === null) return;
    const [low, high] = this.get(i);
    need(compareBytes(low, found[0]) === 0, `the minimum of group ${i} is not that of its values`, RULE);
    need(compareBytes(high, found[1]) === 0, `the maximum of group ${i} is not that of its values`, RULE);
  }
}

/** The smallest and largest of numbers. */
class NumberExtremes {
  constructor(dtype) {
    this.dtype = dtype;
    this.kind = DTYPES[dtype].range;
    this.low = undefined;
    this.high = undefined;
  }

  /** Add stored values; `valid` has 0 for rows, of `width` values each, that are missing. */
  add(stored, valid = null, width = 1) {
    const numbers = delivered(this.dtype, stored);
    for (let i = 0; i < stored.length; i++) {
      if (valid !== null && valid[Math.floor(i / width)] === 0) continue;
      if (isNaNBits(this.dtype, stored[i])) continue;
      if (this.low === undefined || numbers[i] < this.low) this.low = numbers[i];
      if (this.high === undefined || numbers[i] > this.high) this.high = numbers[i];
    }
  }

  bytes() {
    return this.low === undefined ? null : [this.#write(this.low, -0), this.#write(this.high, 0)];
  }

  #write(value, zero) {
    const bytes = new Uint8Array(this.kind === "f32" ? 4 : 8);
    const view = viewOf(bytes);
    if (this.kind === "f32") view.setFloat32(0, value === 0 ? zero : value, true);
    else if (this.kind === "f64") view.setFloat64(0, value === 0 ? zero : value, true);
    else view.setBigInt64(0, BigInt(value), true);
    return bytes;
  }
}

/** The smallest and largest of texts; 33 bytes of each decide. */
class TextExtremes {
  constructor() {
    this.low = undefined;
    this.high = undefined;
  }

  addText(bytes) {
    const cut = bytes.subarray(0, LONGEST + 1);
    if (this.low === undefined || compareBytes(cut, this.low) < 0) this.low = cut.slice();
    if (this.high === undefined || compareBytes(cut, this.high) > 0) this.high = cut.slice();
  }

  bytes() {
    if (this.low === undefined) return null;
    const low = this.low.subarray(0, LONGEST);
    if (this.high.length <= LONGEST) return [low, this.high];
    let last = LONGEST - 1;
    while (last >= 0 && this.high[last] === 255) last--;
    if (last < 0) return null;
    const high = this.high.slice(0, last + 1);
    high[last]++;
    return [low, high];
  }
}

export function extremesOf(column) {
  return column.type === TEXT ? new TextExtremes() : new NumberExtremes(column.meaning.dtype);
}
