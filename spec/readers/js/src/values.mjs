// Values of decoded runs: groups put together, and what the type says of values (registry.md 1, format.md 4.3, 4.4).

import { sum } from "./bytes.mjs";
import { isNaNBits } from "./dtypes.mjs";
import { need } from "./failure.mjs";
import { CATEGORY, CODES, LABEL, SCORE, SOFT_LABEL } from "./schema.mjs";

const RULE = "registry.md 1";
const BIT = 13;

/**
 * Check the values of a run of a column: what the type says of each, and that those of missing rows are zero.
 * @param {import("./columnfile.mjs").ColumnFile} part
 */
export function checkValues({ column, valid, starts, runStarts }, values, run, context) {
  const { meaning, type } = column;
  if (type === CATEGORY) needBelow(values, context.object.length, "category", "codecs.md 3.3");
  else if (type === LABEL && meaning.bound !== Infinity) needBelow(values, meaning.bound, "label", RULE);
  else if (type === CODES && context.codec === 2) needBelow(values, meaning.bound, "code", RULE);
  else if (type === SCORE && !column.optional) {
    for (const value of values) if (isNaNBits(meaning.dtype, value)) need(false, "NaN in a Score that is not optional", RULE);
  }
  if (starts !== null) return; // a missing row of a ragged column has no values
  const { width } = meaning;
  for (let at = 0, row = runStarts[run] / width; at < values.length; at += width, row++) {
    if (valid !== null && valid[row] === 0) {
      if (context.codec !== 5) needZero(values.subarray(at, at + width), row);
    } else if (type === SOFT_LABEL) {
      checkSoftLabel(values.subarray(at, at + width), meaning);
    }
  }
}

/** Check the constants of a column (format.md 8.3). */
export function checkConstants({ meaning, type, optional, name }, values) {
  if (type === LABEL || type === CODES) needBelow(values, meaning.bound, `the constant of ${name}`, RULE);
  if (meaning.dtype === BIT) needBelow(values, 2, `the constant of ${name}`, RULE);
  const isNaN = (value) => isNaNBits(meaning.dtype, value);
  if (type === SCORE && !optional) need(!values.some(isNaN), "NaN in a Score that is not optional", RULE);
}

function needBelow(values, bound, what, rule) {
  for (const value of values) if (value >= bound) need(false, `${what} ${value} of ${bound}`, rule);
}

function needZero(values, row) {
  for (const value of values) if (value != 0) need(false, `row ${row} is missing, and its value is not zero`, "format.md 4.4");
}

/** Check one row of a SoftLabel: different classes, and probabilities that fit their dtype. */
function checkSoftLabel(row, meaning) {
  const top = meaning.topClasses === undefined ? 0 : meaning.shape[1];
  if (top > 0) {
    const classes = row.subarray(0, top);
    needBelow(classes, meaning.topClasses, "class", RULE);
    need(new Set(classes).size === top, "a class stands twice in a row", RULE);
  }
  const most = meaning.probability === 1 ? 255 : 65535;
  for (const value of row.subarray(top)) if (value > most) need(false, `the probability ${value}`, RULE);
}

/** Put the values of groups of dimensions side by side, row by row. */
export function interleave(parts, widths) {
  const width = sum(widths);
  const rows = parts[0].length / widths[0];
  const values = new parts[0].constructor(rows * width);
  let first = 0;
  for (const [g, part] of parts.entries()) {
    for (let row = 0; row < rows; row++) values.set(part.subarray(row * widths[g], (row + 1) * widths[g]), row * width + first);
    first += widths[g];
  }
  return values;
}
