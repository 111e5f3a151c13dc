// XXH64, the checksum of format.md 2.2, on halves of 32 bits: BigInt would be a hundred times slower.

// The five primes, as upper and lower half.
const P1H = 0x9e3779b1 | 0, P1L = 0x85ebca87 | 0;
const P2H = 0xc2b2ae3d | 0, P2L = 0x27d4eb4f | 0;
const P3H = 0x165667b1 | 0, P3L = 0x9e3779f9 | 0;
const P4H = 0x85ebca77 | 0, P4L = 0xc2b2ae63 | 0;
const P5H = 0x27d4eb2f | 0, P5L = 0x165667c5 | 0;

let high = 0; // the upper half of the last result

/** Multiply two numbers of 64 bits; the lower half is returned, the upper one is left in `high`. */
function multiply(ah, al, bh, bl) {
  const a0 = al & 0xffff, a1 = al >>> 16, b0 = bl & 0xffff, b1 = bl >>> 16;
  const low = a0 * b0;
  const middle = a1 * b0 + (low >>> 16); // below 2^32
  const middle2 = a0 * b1 + (middle & 0xffff);
  const upper = a1 * b1 + (middle >>> 16) + (middle2 >>> 16);
  high = (upper + Math.imul(ah, bl) + Math.imul(al, bh)) | 0;
  return (middle2 << 16) | (low & 0xffff);
}

function addition(ah, al, bh, bl) {
  const low = (al >>> 0) + (bl >>> 0);
  high = (ah + bh + (low > 0xffffffff ? 1 : 0)) | 0;
  return low | 0;
}

/** Rotate left by 1 to 31 bits. */
function rotate(h, l, by) {
  high = (h << by) | (l >>> (32 - by));
  return (l << by) | (h >>> (32 - by));
}

/** One step of an accumulator: (acc + input * P2) rotated by 31, times P1. */
function round(ah, al, ih, il) {
  let l = multiply(ih, il, P2H, P2L);
  l = addition(ah, al, high, l);
  l = rotate(high, l, 31);
  return multiply(high, l, P1H, P1L);
}

/**
 * Hash bytes.
 * @param {Uint8Array} bytes
 * @param {bigint} seed
 * @returns {bigint}
 */
export function xxh64(bytes, seed = 0n) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const seedHigh = Number((seed >> 32n) & 0xffffffffn) | 0;
  const seedLow = Number(seed & 0xffffffffn) | 0;
  const end = bytes.length;
  let at = 0;
  let h, l;
  if (end >= 32) {
    const accHigh = new Int32Array(4);
    const accLow = new Int32Array(4);
    accLow[0] = addition(seedHigh, seedLow, P1H, P1L);
    accLow[0] = addition(high, accLow[0], P2H, P2L);
    accHigh[0] = high;
    accLow[1] = addition(seedHigh, seedLow, P2H, P2L);
    accHigh[1] = high;
    accLow[2] = seedLow;
    accHigh[2] = seedHigh;
    accLow[3] = addition(seedHigh, seedLow, ~P1H, ~P1L); // seed - P1 = seed + ~P1 + 1
    accLow[3] = addition(high, accLow[3], 0, 1);
    accHigh[3] = high;
    for (; at + 32 <= end; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        const from = at + 8 * lane;
        accLow[lane] = round(accHigh[lane], accLow[lane], view.getInt32(from + 4, true), view.getInt32(from, true));
        accHigh[lane] = high;
      }
    }
    h = 0;
    l = 0;
    for (const [lane, by] of [[0, 1], [1, 7], [2, 12], [3, 18]]) {
      const turned = rotate(accHigh[lane], accLow[lane], by);
      l = addition(h, l, high, turned);
      h = high;
    }
    for (let lane = 0; lane < 4; lane++) {
      const mixed = round(0, 0, accHigh[lane], accLow[lane]);
      l = multiply(h ^ high, l ^ mixed, P1H, P1L);
      l = addition(high, l, P4H, P4L);
      h = high;
    }
  } else {
    l = addition(seedHigh, seedLow, P5H, P5L);
    h = high;
  }
  l = addition(h, l, 0, end);
  h = high;
  for (; at + 8 <= end; at += 8) {
    const mixed = round(0, 0, view.getInt32(at + 4, true), view.getInt32(at, true));
    l = rotate(h ^ high, l ^ mixed, 27);
    l = multiply(high, l, P1H, P1L);
    l = addition(high, l, P4H, P4L);
    h = high;
  }
  if (at + 4 <= end) {
    const mixed = multiply(0, view.getInt32(at, true), P1H, P1L);
    l = rotate(h ^ high, l ^ mixed, 23);
    l = multiply(high, l, P2H, P2L);
    l = addition(high, l, P3H, P3L);
    h = high;
    at += 4;
  }
  for (; at < end; at++) {
    const mixed = multiply(0, bytes[at], P5H, P5L);
    l = rotate(h ^ high, l ^ mixed, 11);
    l = multiply(high, l, P1H, P1L);
    h = high;
  }
  l ^= h >>> 1; // x ^= x >> 33
  l = multiply(h, l, P2H, P2L);
  h = high;
  l ^= (h << 3) | (l >>> 29); // x ^= x >> 29
  h ^= h >>> 29;
  // the line above changed l with the old h, as it must
  l = multiply(h, l, P3H, P3L);
  h = high;
  l ^= h; // x ^= x >> 32
  return (BigInt(h >>> 0) << 32n) | BigInt(l >>> 0);
}
