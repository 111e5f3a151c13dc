// Codec 5, `vectors`: stored integers, the models that say which vectors they stand for, and those (codecs.md 6).

import { Cursor, sum, viewOf } from "./bytes.mjs";
import { need } from "./failure.mjs";
import { Tables, decodeLanes } from "./lanes.mjs";

const MOST_SLOTS = 2 ** 22;
const MODEL = "codecs.md 6.2";
const PLANES = "codecs.md 6.3";
const LANES = "codecs.md 6.4";
const I32_LOW = -(2 ** 31);
const I32_HIGH = 2 ** 31 - 1;

/** Parse the content of a vector model for a column of `columnDim` dimensions. */
export function parseVectorModel(content, columnDim) {
  const cursor = new Cursor(content, MODEL);
  const head = cursor.take(16, "the head of the model");
  const [transform, width, bits] = head;
  const dim = cursor.view.getUint32(4, true);
  const step = cursor.view.getFloat64(8, true);
  need(transform >= 1 && transform <= 3, `transform ${transform}`, MODEL, 0);
  const hasRotation = transform === 3;
  need(hasRotation ? width === 1 || width === 2 : width === 0, `a width of ${width}`, MODEL, 1);
  need(bits <= (hasRotation ? 14 : 0), `${bits} bits`, MODEL, 2);
  need(head[3] === 0, "a reserved byte is set", MODEL, 3);
  need(dim === columnDim && (!hasRotation || dim <= 8192), `a model of ${dim} dimensions`, MODEL, 4);
  need(step >= 2 ** -126 && step <= 2 ** 127, `a step of ${step}`, MODEL, 8);
  need(transform !== 1 || step === 1, `a step of ${step} with scales`, MODEL, 8);
  const scale = transform === 1 ? floats(cursor, dim, "scale") : null;
  need(scale === null || scale.every((x) => x > 0), "a scale that is not above zero", MODEL);
  const mean = hasRotation ? floats(cursor, dim, "mean") : null;
  const rotation = hasRotation ? Int32Array.from(unzigzagPlanes(cursor.take(width * dim * dim, "rotation"), width, dim * dim)) : null;
  const log = cursor.u8("log");
  need(log === 0 || (log >= 8 && log <= 15), `tables of log ${log}`, MODEL, cursor.at - 1);
  need(cursor.u8("a reserved byte") === 0, "a reserved byte is set", MODEL, cursor.at - 1);
  const classes = cursor.u16("classes");
  need(classes <= (log === 0 ? 0 : Math.min(1024, dim)), `${classes} classes`, MODEL, cursor.at - 2);
  need(classes * 2 ** log <= MOST_SLOTS, `tables of ${classes * 2 ** log} slots`, "format.md 11", cursor.at - 2);
  const coder = log === 0 ? null : parseClasses(cursor, log, classes, dim);
  cursor.end();
  return { transform, bits, dim, step, scale, mean, rotation, coder };
}

function floats(cursor, count, what) {
  const view = viewOf(cursor.take(4 * count, what));
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = view.getFloat32(4 * i, true);
    need(Number.isFinite(values[i]), `${what} ${i} is not finite`, MODEL);
  }
  return values;
}

function parseClasses(cursor, log, classes, dim) {
  const classOf = cursor.packed(dim, "class_of", 0, classes);
  const shift = cursor.packed(classes, "shift", 0, 24);
  const first = cursor.packed(classes, "first", I32_LOW, I32_HIGH);
  const symbols = cursor.packed(classes, "symbols", 1, 256);
  const frequency = cursor.packed(sum(symbols), "frequency", 1, 2 ** log);
  const tables = [];
  let at = 0;
  for (let k = 0; k < classes; k++) {
    tables.push(frequency.subarray(at, at + symbols[k]));
    at += symbols[k];
    need(first[k] * 2 ** shift[k] >= I32_LOW && (first[k] + symbols[k]) * 2 ** shift[k] <= 2 ** 31,
      `class ${k + 1} goes past an i32`, MODEL);
  }
  return { classOf, shift, first, tables: new Tables(log, tables) };
}

/** Signed integers from planes of their zigzag form (6.3). */
function unzigzagPlanes(planes, width, count) {
  const values = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    let u = 0;
    for (let p = 0; p < width; p++) u |= planes[p * count + i] << (8 * p);
    values[i] = (u >>> 1) ^ -(u & 1);
  }
  return values;
}

/** Decode one block to the integers of its group, row by row. */
export function decodeVectors(block) {
  const { n, width } = block;
  need(n % width === 0, `${n} values of ${width} dimensions`, "codecs.md 6");
  const rows = n / width;
  if (block.form === 0) {
    const coded = block.coded(n + 1, 4 * n + 1, [1]);
    const wide = coded[0];
    need(wide === 1 || wide === 2 || wide === 4, `planes of width ${wide}`, PLANES);
    need(coded.length === wide * n + 1, `${coded.length} coded bytes of width ${wide}`, PLANES);
    const byDimension = unzigzagPlanes(coded.subarray(1), wide, n);
    const values = new Int32Array(n);
    for (let j = 0; j < width; j++) for (let i = 0; i < rows; i++) values[i * width + j] = byDimension[j * rows + i];
    return values;
  }
  if (block.form !== 1) block.unknownForm();
  return fromLanes(block, rows);
}

function fromLanes(block, rows) {
  const { n, width, context } = block;
  const coder = context.object.coder;
  need(coder !== null, "lanes, and the model has no tables", LANES);
  need(rows <= 65535, `${rows} rows in lanes`, LANES);
  const cursor = new Cursor(block.coded(4, 2 ** 24, []), LANES);
  const exceptions = cursor.u32("exceptions");
  need(exceptions <= n, `${exceptions} exceptions in ${n} integers`, LANES);
  const place = cursor.packed(exceptions, "place", 0, n - 1);
  const value = cursor.packed(exceptions, "value", I32_LOW, I32_HIGH);
  for (let i = 1; i < exceptions; i++) need(place[i] > place[i - 1], "places do not ascend", LANES);
  const dimensions = [];
  const numbers = [];
  for (let j = 0; j < width; j++) {
    const number = coder.classOf[block.firstDimension + j];
    if (number > 0) {
      dimensions.push(j);
      numbers.push(number - 1);
    }
  }
  const values = new Int32Array(n);
  const planeBytes = Math.ceil(rows / 8);
  for (const [lane, j] of dimensions.entries()) {
    for (let bit = 0; bit < coder.shift[numbers[lane]]; bit++) {
      const plane = cursor.take(planeBytes, "low bits");
      need(rows % 8 === 0 || plane[planeBytes - 1] >> rows % 8 === 0, "a bit past the last row is set", LANES);
      for (let i = 0; i < rows; i++) values[i * width + j] |= ((plane[i >> 3] >> (i & 7)) & 1) << bit;
    }
  }
  if (dimensions.length > 0) {
    decodeLanes(cursor.take(cursor.left, "lanes"), dimensions.length, rows, rows, coder.tables,
      (lane) => numbers[lane],
      (lane, i, symbol) => {
        const k = numbers[lane];
        values[i * width + dimensions[lane]] += (coder.first[k] + symbol) * 2 ** coder.shift[k];
      });
  }
  cursor.end();
  for (let i = 0; i < exceptions; i++) values[place[i]] = value[i];
  return values;
}

/**
 * The vectors that rows of stored integers stand for (6.1).
 * @param {object} model
 * @param {Int32Array} integers rows of all dimensions
 * @returns {Float32Array}
 */
export function toVectors(model, integers) {
  const { dim, transform } = model;
  const numbers = new Float32Array(integers.length);
  if (transform !== 3) {
    for (let i = 0; i < integers.length; i++) {
      numbers[i] = integers[i] * (transform === 1 ? model.scale[i % dim] : model.step);
    }
    return numbers;
  }
  const unit = model.step * 2 ** -model.bits;
  for (let row = 0; row < integers.length; row += dim) {
    for (let i = 0; i < dim; i++) {
      let total = 0; // exact as long as it is below 2^53
      for (let j = 0; j < dim; j++) total += integers[row + j] * model.rotation[i * dim + j];
      numbers[row + i] = model.mean[i] + total * unit;
    }
  }
  return numbers;
}
