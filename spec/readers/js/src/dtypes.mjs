// Dtypes of values (registry.md 3) and the arrays that hold them.
//
// Inside the reader values are *stored*: floats are the bits of their dtype as unsigned integers, so that NaN payloads
// and the sign of zero survive. What a caller gets are numbers (`delivered`).

/** number -> name, bytes, array of stored values, range type ("u64", "i64", "f32", "f64" or null), exponent bits. */
export const DTYPES = {
  1: { name: "uint8", bytes: 1, Array: Uint8Array, range: "u64" },
  2: { name: "uint16", bytes: 2, Array: Uint16Array, range: "u64" },
  3: { name: "uint32", bytes: 4, Array: Uint32Array, range: "u64" },
  4: { name: "uint64", bytes: 8, Array: BigUint64Array, range: "u64" },
  5: { name: "int8", bytes: 1, Array: Int8Array, range: "i64" },
  6: { name: "int16", bytes: 2, Array: Int16Array, range: "i64" },
  7: { name: "int32", bytes: 4, Array: Int32Array, range: "i64" },
  8: { name: "int64", bytes: 8, Array: BigInt64Array, range: "i64" },
  9: { name: "float16", bytes: 2, Array: Uint16Array, range: "f32", isFloat: true },
  10: { name: "bfloat16", bytes: 2, Array: Uint16Array, range: "f32", isFloat: true },
  11: { name: "float32", bytes: 4, Array: Uint32Array, range: "f32", isFloat: true },
  12: { name: "float64", bytes: 8, Array: BigUint64Array, range: "f64", isFloat: true },
  13: { name: "bit", bytes: 1, Array: Uint8Array, range: null },
};

const word = new DataView(new ArrayBuffer(8));

/** The number that the bits of an f16 stand for. */
export function fromF16(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** The bits of the f16 nearest to a number, ties to even; the number is no NaN. */
export function toF16(value) {
  word.setFloat64(0, value, true);
  const sign = (word.getUint32(4, true) >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // Units of the last place: 2^-24 below 2^-14, else 2^-10 of the power of two at or below the number.
  let exponent = 1;
  while (exponent < 30 && size >= 2 ** (exponent - 14)) exponent++;
  const units = roundHalfEven(size * 2 ** (25 - exponent));
  return sign | (units + ((exponent - 1) << 10)); // units of 1,024 and more carry into the exponent
}

/** Round a number from 0 to 2^52. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

export function isNaNBits(dtype, bits) {
  switch (dtype) {
    case 9:
      return (bits & 0x7fff) > 0x7c00;
    case 10:
      return (bits & 0x7fff) > 0x7f80;
    case 11:
      return (bits & 0x7fffffff) > 0x7f800000;
    case 12:
      return (bits & 0x7fffffffffffffffn) > 0x7ff0000000000000n;
    default:
      return false;
  }
}

/** Give stored values of a dtype as numbers: floats as Float32Array or Float64Array, integers as they are. */
export function delivered(dtype, stored) {
  switch (dtype) {
    case 9:
      return Float32Array.from(stored, fromF16);
    case 10: {
      const bits = Uint32Array.from(stored, (value) => value << 16);
      return new Float32Array(bits.buffer);
    }
    case 11:
      return new Float32Array(stored.buffer, stored.byteOffset, stored.length);
    case 12:
      return new Float64Array(stored.buffer, stored.byteOffset, stored.length);
    default:
      return stored;
  }
}
