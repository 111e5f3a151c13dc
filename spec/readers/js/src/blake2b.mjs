// BLAKE2b with 32 bytes of output and no key (RFC 7693), the digest of format.md 2.2, on halves of 32 bits.

// The fractional parts of the square roots of the first eight primes, lower half first (RFC 7693, 2.6).
const START = new Int32Array([
  0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a,
  0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19,
]);

// The order of the message words in the ten rounds (RFC 7693, 2.7).
const ORDER = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
].map((row) => row.map((word) => 2 * word));

// Columns and diagonals of the 4 x 4 words.
const QUARTERS = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
].map((row) => row.map((word) => 2 * word));

const v = new Int32Array(32);
const m = new Int32Array(32);

/** v[a] += v[b] + m[x], in 64 bits. */
function mixIn(a, b, x) {
  const low = (v[a] >>> 0) + (v[b] >>> 0) + (m[x] >>> 0);
  v[a + 1] = v[a + 1] + v[b + 1] + m[x + 1] + Math.floor(low / 4294967296);
  v[a] = low;
}

/** v[a] += v[b], in 64 bits. */
function sumUp(a, b) {
  const low = (v[a] >>> 0) + (v[b] >>> 0);
  v[a + 1] = v[a + 1] + v[b + 1] + (low > 0xffffffff ? 1 : 0);
  v[a] = low;
}

function quarter(a, b, c, d, x, y) {
  mixIn(a, b, x);
  let low = v[d] ^ v[a];
  let high = v[d + 1] ^ v[a + 1];
  v[d] = high; // rotated by 32
  v[d + 1] = low;
  sumUp(c, d);
  low = v[b] ^ v[c];
  high = v[b + 1] ^ v[c + 1];
  v[b] = (low >>> 24) | (high << 8);
  v[b + 1] = (high >>> 24) | (low << 8);
  mixIn(a, b, y);
  low = v[d] ^ v[a];
  high = v[d + 1] ^ v[a + 1];
  v[d] = (low >>> 16) | (high << 16);
  v[d + 1] = (high >>> 16) | (low << 16);
  sumUp(c, d);
  low = v[b] ^ v[c];
  high = v[b + 1] ^ v[c + 1];
  v[b] = (high >>> 31) | (low << 1);
  v[b + 1] = (low >>> 31) | (high << 1);
}

/** A digest of bytes that come piece by piece. */
export class Blake2b {
  #state = START.slice();
  #buffer = new Uint8Array(128);
  #view = new DataView(this.#buffer.buffer);
  #filled = 0;
  #count = 0; // bytes so far, far below 2^53

  constructor() {
    this.#state[0] ^= 0x01010020; // no key, a digest of 32 bytes, one tree of one leaf
  }

  update(bytes) {
    let at = 0;
    while (at < bytes.length) {
      if (this.#filled === 128) {
        this.#count += 128;
        this.#compress(0);
        this.#filled = 0;
      }
      const taken = Math.min(128 - this.#filled, bytes.length - at);
      this.#buffer.set(bytes.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
    }
    return this;
  }

  /** The 32 bytes; nothing can be added after it. */
  digest() {
    this.#count += this.#filled;
    this.#buffer.fill(0, this.#filled);
    this.#compress(-1);
    const result = new Uint8Array(32);
    const view = new DataView(result.buffer);
    for (let i = 0; i < 8; i++) view.setInt32(4 * i, this.#state[i], true);
    return result;
  }

  #compress(last) {
    for (let i = 0; i < 32; i++) m[i] = this.#view.getInt32(4 * i, true);
    v.set(this.#state);
    v.set(START, 16);
    v[24] ^= this.#count;
    v[25] ^= Math.floor(this.#count / 4294967296);
    v[28] ^= last;
    v[29] ^= last;
    for (let round = 0; round < 12; round++) {
      const order = ORDER[round % 10];
      for (let i = 0; i < 8; i++) {
        const [a, b, c, d] = QUARTERS[i];
        quarter(a, b, c, d, order[2 * i], order[2 * i + 1]);
      }
    }
    for (let i = 0; i < 16; i++) this.#state[i] ^= v[i] ^ v[i + 16];
  }
}

export function blake2b(bytes) {
  return new Blake2b().update(bytes).digest();
}
