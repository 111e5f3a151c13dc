// Codec 2, `numbers` (codecs.md 3), and category lists (3.3).

import { Cursor, bytesOf, utf8, viewOf } from "./bytes.mjs";
import { DTYPES, toF16 } from "./dtypes.mjs";
import { need } from "./failure.mjs";

const RULE = "codecs.md 3";
const LIST = "codecs.md 3.3";
const MOST_CATEGORIES = 65536;
const MOST_LIST_BYTES = 2 ** 24;

/** Parse the content of a category list to strings. */
export function parseCategories(content) {
  need(content.length <= MOST_LIST_BYTES, `a list of ${content.length} bytes`, LIST);
  const cursor = new Cursor(content, LIST);
  const count = cursor.u32("the number of categories");
  need(count <= MOST_CATEGORIES, `${count} categories`, LIST);
  const lengths = cursor.packed(count, "the lengths of categories");
  const names = Array.from(lengths, (length) => utf8(cursor.take(length, "a category"), "a category", LIST));
  cursor.end();
  need(new Set(names).size === count, "a category is in the list twice", LIST);
  return names;
}

export function decodeNumbers(block) {
  const { n, width } = block;
  const dtype = block.context.dtype;
  const { bytes: w, Array: Stored } = DTYPES[dtype];
  need(n % width === 0, `${n} values in rows of ${width}`, RULE);
  const values = new Stored(n);
  const target = bytesOf(values);
  const rows = n / width;
  switch (block.form) {
    case 0:
      target.set(block.coded(w * n, w * n, [1]));
      break;
    case 1:
    case 2: {
      const planes = block.coded(w * n, w * n, [1]);
      for (let p = 0; p < w; p++) putPlane(target, planes.subarray(p * n, (p + 1) * n), p, w, rows, width, block.form === 2);
      break;
    }
    case 3:
      fromPacked(block, dtype, values);
      break;
    case 4:
      fromSteps(block, dtype, values);
      break;
    case 5:
    case 6:
      fromPlanesApart(block, target, w, rows, block.form === 6);
      break;
    default:
      block.unknownForm();
  }
  return values;
}

/** Put byte p of all values in its place; in turned order the first value of every row comes first. */
function putPlane(target, plane, p, w, rows, width, isTurned) {
  if (!isTurned) {
    for (let i = 0; i < plane.length; i++) target[i * w + p] = plane[i];
    return;
  }
  let at = 0;
  for (let j = 0; j < width; j++) {
    for (let row = 0; row < rows; row++) target[(row * width + j) * w + p] = plane[at++];
  }
}

/** Form 3: a packed array; u64 values from 2^63 on stand there minus 2^64. */
function fromPacked(block, dtype, values) {
  need(!DTYPES[dtype].isFloat, "a packed array of floats", RULE);
  const { n } = block;
  const cursor = new Cursor(block.coded(10, 10 + 8 * n, [1]), RULE);
  if (DTYPES[dtype].bytes === 8) {
    bytesOf(values).set(bytesOf(cursor.packedHalves(n, "values")));
  } else {
    const bits = 8 * DTYPES[dtype].bytes;
    const isSigned = DTYPES[dtype].range === "i64";
    const low = isSigned ? -(2 ** (bits - 1)) : 0;
    values.set(cursor.packed(n, "values", low, low + 2 ** bits - 1));
  }
  cursor.end();
}

/** Form 4: multiples of a step, rounded from f64 to the dtype. */
function fromSteps(block, dtype, values) {
  need(DTYPES[dtype].isFloat && dtype !== 10, `steps of ${DTYPES[dtype].name}`, RULE);
  const { n } = block;
  const cursor = new Cursor(block.coded(18, 18 + 8 * n, [1]), RULE);
  cursor.take(8, "the step");
  const step = cursor.view.getFloat64(0, true);
  need(step > 0 && step < Infinity, `a step of ${step}`, RULE);
  const halves = cursor.packedHalves(n, "steps");
  cursor.end();
  const f32 = dtype === 11 ? new Float32Array(values.buffer) : null;
  const f64 = dtype === 12 ? new Float64Array(values.buffer) : null;
  for (let i = 0; i < n; i++) {
    const value = (halves[2 * i + 1] * 2 ** 32 + (halves[2 * i] >>> 0)) * step;
    if (f32 !== null) f32[i] = value;
    else if (f64 !== null) f64[i] = value;
    else values[i] = toF16(value);
  }
}

/** Forms 5 and 6: every plane stored alone, as it is or as a zstd frame. */
function fromPlanesApart(block, target, w, rows, isTurned) {
  const rule = "codecs.md 3.1";
  const { n } = block;
  const coded = block.coded(5 * w, 4 * w + w * n, []);
  const view = viewOf(coded);
  let at = 4 * w;
  for (let p = 0; p < w; p++) {
    const length = view.getUint32(4 * p, true);
    need(length <= n && at + length <= coded.length, `a plane of ${length} bytes`, rule);
    const stored = coded.subarray(at, at + length);
    const plane = length === n ? stored : block.context.zstd.decode(stored, n, n);
    putPlane(target, plane, p, w, rows, block.width, isTurned);
    at += length;
  }
  need(at === coded.length, `${coded.length - at} bytes after the planes`, rule);
}
