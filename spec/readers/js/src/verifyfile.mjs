// Verifying a data file: reading and checking all of it (format.md 2.1, 4, 10).

import { bytesOf, equal, hex, isZero, lastNotAbove, utf8 } from "./bytes.mjs";
import { Blake2b } from "./blake2b.mjs";
import { isNaNBits } from "./dtypes.mjs";
import { HEADER_BYTES } from "./entries.mjs";
import { ReadError, need } from "./failure.mjs";
import { extremesOf } from "./ranges.mjs";
import { TEXT } from "./schema.mjs";

const STEP = 1 << 20;
const KNOWN_CODECS = 6;

/** Check all of a data file. */
export async function verifyFile(file) {
  for (const part of file.columns.values()) if (part.entry.required === 0) await part.load();
  await checkLayout(file);
  for (const [number, entry] of file.index.objects.entries()) {
    if (entry.isEmbedded || file.fetchObject !== undefined) await file.object(number);
  }
  for (const part of file.columns.values()) if (part.isReadable) await verifyColumn(part);
}

/** Check the length and the digest of a whole file, as its page has them (8.3). */
export async function verifyWhole(file, line) {
  const rule = "format.md 8.3";
  const size = await file.source.size();
  if (size < line.fileBytes) throw new ReadError("truncated", `the file has ${size} bytes, its page says ${line.fileBytes}`, rule);
  need(size === line.fileBytes, `the file has ${size} bytes, its page says ${line.fileBytes}`, rule);
  const digest = new Blake2b();
  for (let at = 0; at < size; at += STEP) digest.update(await file.range(at, Math.min(STEP, size - at)));
  const found = hex(digest.digest());
  if (found !== line.digest) throw new ReadError("checksum", `the file has the digest ${found}, its page says ${line.digest}`, rule);
}

/** Check that every byte belongs to one part (4.1, 4.3, 4.10). */
async function checkLayout(file) {
  const { footer, index } = file;
  const isWhole = index.entries.every((entry) => entry.required === 0);
  const end = await checkBlocks(file, isWhole);
  if (isWhole) need(footer.copyOffset === end, "the copy does not begin where the last block ends", "format.md 4.1", end);
  const objects = index.objects.filter((entry) => entry.isEmbedded).map((entry) => [entry.offset, entry.storedBytes]);
  const firstTable = follow(footer.tailOffset, objects, "an object");
  if (isWhole) {
    let at = follow(firstTable, index.entries.map(({ table }) => [table.offset, table.bytes]), "a table");
    const sections = index.entries.filter((entry) => entry.isRagged || entry.isOptional);
    at = follow(at, sections.map(({ rowsSection }) => [rowsSection.offset, rowsSection.bytes]), "a rows section");
    need(at === footer.indexOffset, "the index does not begin where the last rows section ends", "format.md 4.1", at);
  }
  const length = footer.at - firstTable;
  need(footer.tailOffset - footer.copyOffset === length, "the copy has another length than the original", "format.md 4.10");
  for (let at = 0; at < length; at += STEP) {
    const count = Math.min(STEP, length - at);
    const [copy, original] = await Promise.all([file.range(footer.copyOffset + at, count), file.range(firstTable + at, count)]);
    need(equal(copy, original), "the copy differs from the original", "format.md 4.10", footer.copyOffset + at);
  }
}

/** Check that parts lie one behind the other, and return where the last one ends. */
function follow(at, parts, what) {
  parts.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  for (const [offset, bytes] of parts) {
    need(offset === at, `${what} begins at ${offset}, the part before it ends at ${at}`, "format.md 4.1", offset);
    at += bytes;
  }
  return at;
}

/** Check place, alignment and padding of all blocks, and return where the last one ends. */
async function checkBlocks(file, isWhole) {
  const rule = "format.md 4.3";
  const blocks = [];
  for (const part of file.columns.values()) {
    if (part.entry.required !== 0) continue;
    for (let b = 0; b < part.entry.blocks; b++) {
      const isRaw = part.entry.codec <= 2 && ((part.form[b] >> 4) & 3) === 0;
      const multiple = part.entry.codec === 0 || part.entry.codec > KNOWN_CODECS ? 0 : isRaw ? 64 : 8;
      blocks.push({ offset: part.offset[b], bytes: part.storedBytes[b], multiple });
    }
  }
  blocks.sort((a, b) => a.offset - b.offset);
  let at = HEADER_BYTES;
  for (const { offset, bytes, multiple } of blocks) {
    need(offset >= at, `a block begins at ${offset}, the part before it ends at ${at}`, "format.md 11", offset);
    if (isWhole) {
      const fits = (size) => offset === Math.ceil(at / size) * size;
      need(multiple === 0 ? fits(8) || fits(64) : fits(multiple), `a block begins at ${offset} after ${at}`, rule, offset);
      need(isZero(await file.range(at, offset - at)), "the padding is not zero", rule, at);
    }
    at = offset + bytes;
  }
  return at;
}

/** Check all values of a column against its table, and against the digest of its values (4.5, 10). */
async function verifyColumn(part) {
  const { column, entry, valid, ranges } = part;
  const G = part.widths.length;
  const context = await part.context();
  const digest = new Blake2b();
  checkFirstRows(part, G);
  for (let first = 0, last; first < part.runs; first = last) {
    last = first + 1;
    let bytes = 0;
    while (last < part.runs && bytes < STEP) bytes += part.storedBytes[last++ * G];
    const stored = await part.blockBytes(first * G, last * G);
    for (let run = first; run < last; run++) {
      const { values, parts } = part.decodeRun(run, stored.slice((run - first) * G, (run - first + 1) * G), context);
      digest.update(bytesOf(values));
      checkNaN(part, run, parts, context);
      if (ranges !== null && column.type !== TEXT) {
        const extremes = extremesOf(column);
        const { width } = column.meaning;
        // The values of a missing row are zeros that do not count; a ragged one has none.
        if (valid === null || part.starts !== null) extremes.add(values);
        else extremes.add(values, valid.subarray(part.runStarts[run] / width), width);
        ranges.check(run, extremes);
      }
    }
  }
  if (column.type === TEXT) await checkTexts(part);
  if (part.starts !== null) digest.update(lengthBytes(part.starts));
  if (valid !== null) digest.update(packBits(valid));
  const found = hex(digest.digest());
  if (found !== entry.digest) {
    throw new ReadError("checksum", `the values digest of ${column.name} is ${found}, not ${entry.digest}`, "format.md 10");
  }
}

/** Check `first_row` and `missing` of every block. */
function checkFirstRows(part, G) {
  const rule = "format.md 4.5";
  const { width } = part.column.meaning;
  const missing = new Float64Array(part.runs);
  if (part.valid !== null && part.runs > 0) {
    for (let row = 0; row < part.entry.rows; row++) if (part.valid[row] === 0) missing[part.runOfRow(row)]++;
  }
  for (let b = 0; b < part.entry.blocks; b++) {
    const run = Math.floor(b / G);
    const value = part.runStarts[run];
    const row = part.starts === null ? value / width : lastNotAbove(part.starts, value);
    need(part.firstRow[b] === row, `block ${b} begins in row ${row}, its table says ${part.firstRow[b]}`, rule);
    if (part.missing !== null) need(part.missing[b] === missing[run], `${missing[run]} rows of block ${b} are missing`, rule);
  }
}

function checkNaN(part, run, parts, context) {
  if (part.nan === null) return;
  for (const [g, values] of parts.entries()) {
    let count = 0;
    if (context.codec !== 5) for (const value of values) if (isNaNBits(context.dtype, value)) count++;
    const b = run * parts.length + g;
    need(part.nan[b] === count, `block ${b} has ${count} NaN, its table says ${part.nan[b]}`, "format.md 4.5");
  }
}

/** Check that every sample is UTF-8, and the ranges of blocks over the samples that begin in them. */
async function checkTexts(part) {
  const { entry, ranges } = part;
  let run = 0;
  let extremes = extremesOf(part.column);
  const finish = (until) => {
    for (; run < until; run++) {
      if (ranges !== null) ranges.check(run, extremes);
      extremes = extremesOf(part.column);
    }
  };
  for await (const piece of part.pieces(0, entry.rows)) {
    for (let row = piece.from; row < piece.to; row++) {
      if (part.isMissing(row)) continue;
      const text = piece.values.subarray(piece.begins[row - piece.from], piece.begins[row - piece.from + 1]);
      utf8(text, `row ${row} of ${part.column.name}`, "codecs.md 4");
      if (part.runs === 0) continue;
      finish(part.runOfRow(row));
      extremes.addText(text);
    }
  }
  finish(part.runs);
}

function lengthBytes(starts) {
  const lengths = new BigUint64Array(starts.length - 1);
  for (let row = 0; row < lengths.length; row++) lengths[row] = BigInt(starts[row + 1] - starts[row]);
  return bytesOf(lengths);
}

function packBits(valid) {
  const bytes = new Uint8Array(Math.ceil(valid.length / 8));
  for (let row = 0; row < valid.length; row++) bytes[row >> 3] |= valid[row] << (row & 7);
  return bytes;
}
