// Integers, hexadecimal digits and packed arrays (format.md 2.1, 2.3).

import { need, corrupt } from "./failure.mjs";

const TWO32 = 2 ** 32;
const PACKED = "format.md 2.3";

export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Read a u64 as a number. Above 2^53 it is rounded, but never to less than 2^53: no offset or count is as large. */
export function u64(view, at) {
  return view.getUint32(at + 4, true) * TWO32 + view.getUint32(at, true);
}

export function equal(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export function isZero(bytes) {
  return bytes.every((byte) => byte === 0);
}

export function magicOf(bytes) {
  return String.fromCharCode(...bytes);
}

/** The bytes of a typed array, without a copy; values stand in the order of the machine, which is little-endian. */
export function bytesOf(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) throw new Error("this reader needs a little-endian machine");

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function utf8(bytes, what, rule) {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw corrupt(`${what} is not UTF-8`, rule);
  }
}

/** Bytes that are read from front to back; what goes past their end is `corrupt`. */
export class Cursor {
  constructor(bytes, rule, at = 0) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
    this.rule = rule;
    this.at = at;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(count, what) {
    need(count <= this.left, `${what} needs ${count} bytes, there are ${this.left}`, this.rule, this.at);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  u8(what) {
    return this.take(1, what)[0];
  }

  u16(what) {
    this.take(2, what);
    return this.view.getUint16(this.at - 2, true);
  }

  u32(what) {
    this.take(4, what);
    return this.view.getUint32(this.at - 4, true);
  }

  end() {
    need(this.left === 0, `${this.left} bytes are left over`, this.rule, this.at);
  }

  /** Read n integers as numbers from `low` to `high`, which are not beyond 2^53 - 1. */
  packed(n, what, low = 0, high = Number.MAX_SAFE_INTEGER) {
    const halves = this.packedHalves(n, what);
    const values = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const value = halves[2 * i + 1] * TWO32 + (halves[2 * i] >>> 0);
      if (!(value >= low && value <= high)) {
        throw corrupt(`${what} ${i} is ${value}, not from ${low} to ${high}`, PACKED, this.at);
      }
      values[i] = value;
    }
    return values;
  }

  /** Read n integers as pairs of 32 bits, the lower ones first: the bytes of n i64. */
  packedHalves(n, what) {
    if (n === 0) return new Int32Array(0);
    const head = this.take(10, what);
    const form = head[0];
    const width = head[1];
    need(form <= 1, `${what} has form ${form}`, PACKED, this.at - 10);
    need(width <= 8, `${what} has width ${width}`, PACKED, this.at - 10);
    const items = form === 0 ? n : n - 1;
    const planes = this.take(width * items, what);
    const halves = new Int32Array(2 * n);
    const first = form === 0 ? 0 : 1;
    for (let plane = 0; plane < width; plane++) {
      const from = plane * items;
      const half = plane >> 2;
      const shift = 8 * (plane & 3);
      for (let i = 0; i < items; i++) halves[2 * (i + first) + half] |= planes[from + i] << shift;
    }
    const baseLow = this.view.getInt32(this.at - width * items - 8, true);
    const baseHigh = this.view.getInt32(this.at - width * items - 4, true);
    if (form === 0) {
      for (let i = 0; i < n; i++) add(halves, i, baseLow, baseHigh);
    } else {
      halves[0] = baseLow;
      halves[1] = baseHigh;
      for (let i = 1; i < n; i++) {
        const low = halves[2 * i];
        const high = halves[2 * i + 1];
        const sign = -(low & 1);
        halves[2 * i] = ((low >>> 1) | (high << 31)) ^ sign;
        halves[2 * i + 1] = (high >>> 1) ^ sign;
        add(halves, i, halves[2 * i - 2], halves[2 * i - 1]);
      }
    }
    return halves;
  }
}

/** Add 64 bits to a pair, modulo 2^64. */
function add(halves, i, low, high) {
  const sum = (halves[2 * i] >>> 0) + (low >>> 0);
  halves[2 * i] = sum | 0;
  halves[2 * i + 1] = (halves[2 * i + 1] + high + (sum >= TWO32 ? 1 : 0)) | 0;
}

/** The running sums of some counts, from 0 on: one item more than there are counts. */
export function sums(counts) {
  const total = new Float64Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) total[i + 1] = total[i] + counts[i];
  return total;
}

export function sum(counts) {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

/** The last place of ascending numbers whose number is not above a value; -1 where all are. */
export function lastNotAbove(numbers, value, count = numbers.length) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
