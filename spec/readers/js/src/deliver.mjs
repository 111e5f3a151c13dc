// What a caller gets for stored values: typed arrays, numbers and strings.

import { utf8 } from "./bytes.mjs";
import { delivered, fromF16 } from "./dtypes.mjs";
import { BYTES, CATEGORY, CODES, SOFT_LABEL, TEXT, TOKENS } from "./schema.mjs";
import { toVectors } from "./vectors.mjs";

/** A sample that is missing is `null`. */
export function deliver(column, context, stored) {
  const { type, meaning } = column;
  switch (type) {
    case TOKENS:
      return meaning.bound <= 2 ** 31 ? new Int32Array(stored) : stored.slice();
    case TEXT:
      return utf8(stored, `a sample of ${column.name}`, "codecs.md 4");
    case BYTES:
    case CODES:
      return meaning.shape === null ? stored[0] : stored.slice();
    case CATEGORY:
      return context.object[stored[0]];
    case SOFT_LABEL:
      return softLabel(meaning, stored);
    default: {
      const own = stored.slice();
      const values = context.codec === 5 ? toVectors(context.object, own) : delivered(meaning.dtype, own);
      return meaning.shape === null ? values[0] : values;
    }
  }
}

/** Probabilities of all classes as a Float32Array, or `{classes, probabilities}` of the top ones. */
function softLabel(meaning, stored) {
  const toNumber = meaning.probability === 1 ? (p) => p / 255 : fromF16;
  const top = meaning.topClasses === undefined ? 0 : meaning.shape[1];
  const probabilities = Float32Array.from(stored.subarray(top), toNumber);
  return top === 0 ? probabilities : { classes: Uint32Array.from(stored.subarray(0, top)), probabilities };
}
