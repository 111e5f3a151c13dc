// Header, footer and index of a data file (format.md 4.2, 4.6 to 4.9, 4.11).

import { hex, isZero, magicOf, u64, viewOf } from "./bytes.mjs";
import { ReadError, need } from "./failure.mjs";
import { needMetadata } from "./jsonfile.mjs";
import { needFields, needKind, parseMetadata } from "./metadata.mjs";
import { MOST_CONTENT } from "./objects.mjs";
import { MOST_COLUMNS, parseColumns } from "./schema.mjs";
import { xxh64 } from "./xxh64.mjs";

export const HEADER_BYTES = 64;
export const FOOTER_BYTES = 64;
export const MOST_ROWS = 2 ** 24;
const MOST_INDEX = 2 ** 26;
const MOST_BLOCKS = 2 ** 24;
const MOST_SECTION = 2 ** 28;

const RAGGED = 1, OPTIONAL = 2, HAS_OBJECT = 4, RANGES = 8, TABLE_ZSTD = 16, ROWS_ZSTD = 32, GROUPS = 64;

/** Numbers of parts that are no blocks, for the seed of a checksum (2.2). */
export const ROWS_SECTION = 2 ** 32 - 2;
export const TABLE = 2 ** 32 - 1;
const INDEX_SEED = ((2n ** 32n - 1n) << 32n) + (2n ** 32n - 1n);

/** Throw `checksum` unless bytes have the checksum that stands at a place of a view. */
export function needChecksum(bytes, seed, view, at, what, rule, offset) {
  const found = xxh64(bytes, seed);
  const said = view.getBigUint64(at, true);
  if (found !== said) {
    const [a, b] = [said, found].map((x) => `0x${x.toString(16).padStart(16, "0")}`);
    throw new ReadError("checksum", `the checksum of ${what} is ${b}, not ${a}`, rule, offset);
  }
}

/** The seed of a part of a data file (2.2). */
export function seedOf(nonce, columnId, block) {
  return (nonce + (BigInt(columnId) << 32n) + BigInt(block)) & (2n ** 64n - 1n);
}

export function needVersion(major, rule, offset) {
  if (major > 1) throw new ReadError("unsupported", `format ${major}`, "format.md 12.1", offset);
  need(major === 1, `major version ${major}`, rule, offset);
}

export function needFeatures(required, what) {
  if (required !== 0) {
    throw new ReadError("unsupported", `${what} needs the features ${required.toString(16)}`, "format.md 12.2");
  }
}

/** Parse the first bytes of a file and return the file id. */
export function parseHeader(bytes) {
  const rule = "format.md 4.2";
  if (bytes.length >= 8) need(magicOf(bytes.subarray(0, 8)) === "TOKSDATA", "the file has another magic", rule, 0);
  if (bytes.length < HEADER_BYTES) throw new ReadError("truncated", "the file ends in its header", "format.md 2.7");
  const head = bytes.subarray(0, HEADER_BYTES);
  const view = viewOf(head);
  needChecksum(head.subarray(0, 56), 0n, view, 56, "the header", rule, 0);
  needVersion(view.getUint16(8, true), rule, 8);
  needFeatures(view.getUint32(20, true), "the file");
  need(isZero(head.subarray(40, 56)), "a reserved byte is set", rule, 40);
  return hex(head.subarray(24, 40));
}

/** The first 8 bytes of a file id as the number that seeds begin with (2.2). */
export function nonceOf(fileId) {
  return BigInt(`0x${fileId.slice(0, 16).match(/../g).reverse().join("")}`);
}

/** Parse the last 64 bytes of a file of `size` bytes. */
export function parseFooter(bytes, size) {
  const rule = "format.md 4.11";
  const at = size - FOOTER_BYTES;
  if (size < HEADER_BYTES + FOOTER_BYTES || magicOf(bytes.subarray(48, 56)) !== "TOKSTAIL") {
    throw new ReadError("truncated", "the file does not end in a footer", "format.md 2.7");
  }
  const view = viewOf(bytes);
  needChecksum(bytes.subarray(0, 56), 0n, view, 56, "the footer", rule, at);
  const footer = {
    at,
    copyOffset: u64(view, 0),
    tailOffset: u64(view, 8),
    indexOffset: u64(view, 16),
    indexBytes: u64(view, 24),
    indexChecksum: view.getBigUint64(32, true),
  };
  need(u64(view, 40) === size, `the footer says ${u64(view, 40)} bytes of ${size}`, rule, at + 40);
  need(footer.indexBytes <= MOST_INDEX, `an index of ${footer.indexBytes} bytes`, "format.md 11", at + 24);
  need(footer.indexOffset + footer.indexBytes === at, "the index does not end at the footer", rule, at + 16);
  need(HEADER_BYTES <= footer.copyOffset && footer.copyOffset <= footer.tailOffset
    && footer.tailOffset <= footer.indexOffset, "copy, tail and index are not in this order", rule, at);
  return footer;
}

/** Parse the bytes of the index. */
export function parseIndex(bytes, footer, nonce) {
  const rule = "format.md 4.6";
  const found = xxh64(bytes, (nonce + INDEX_SEED) & (2n ** 64n - 1n));
  if (found !== footer.indexChecksum) {
    throw new ReadError("checksum", "the checksum of the index differs", "format.md 4.11", footer.indexOffset);
  }
  need(bytes.length >= 32, "the index is cut", rule, footer.indexOffset);
  const view = viewOf(bytes);
  const rows = u64(view, 0);
  const columns = view.getUint32(8, true);
  const objects = view.getUint32(12, true);
  const metadataBytes = view.getUint32(16, true);
  need(rows <= MOST_ROWS, `${rows} samples`, "format.md 11", footer.indexOffset);
  need(columns >= 1 && columns <= MOST_COLUMNS, `${columns} columns`, "format.md 11", footer.indexOffset + 8);
  need(objects <= 65535, `${objects} objects`, "format.md 11", footer.indexOffset + 12);
  need(isZero(bytes.subarray(20, 32)), "a reserved byte is set", rule, footer.indexOffset + 20);
  need(bytes.length === 32 + 160 * columns + 64 * objects + metadataBytes, "the index has another length", rule);
  const index = { rows, entries: [], objects: [] };
  let at = 32;
  for (let i = 0; i < columns; i++, at += 160) {
    const entry = parseEntry(bytes.subarray(at, at + 160), rows, objects, footer);
    need(i === 0 || entry.columnId > index.entries[i - 1].columnId, "column ids do not ascend", rule);
    index.entries.push(entry);
  }
  for (let i = 0; i < objects; i++, at += 64) {
    index.objects.push(parseObjectEntry(bytes.subarray(at, at + 64), footer));
  }
  parseFileMetadata(bytes.subarray(at), index);
  return index;
}

function parseEntry(bytes, rows, objects, footer) {
  const rule = "format.md 4.7";
  const view = viewOf(bytes);
  const flags = view.getUint32(8, true);
  const part = (at) => ({
    offset: u64(view, at), bytes: u64(view, at + 8), contentBytes: u64(view, at + 16), checksum: view.getBigUint64(at + 24, true),
  });
  const entry = {
    columnId: view.getUint32(0, true),
    type: view.getUint16(4, true),
    codec: view.getUint16(6, true),
    flags,
    isRagged: (flags & RAGGED) !== 0,
    isOptional: (flags & OPTIONAL) !== 0,
    hasObject: (flags & HAS_OBJECT) !== 0,
    hasRanges: (flags & RANGES) !== 0,
    hasGroups: (flags & GROUPS) !== 0,
    isTableZstd: (flags & TABLE_ZSTD) !== 0,
    isRowsZstd: (flags & ROWS_ZSTD) !== 0,
    required: view.getUint32(20, true),
    rows,
    values: u64(view, 32),
    blocks: view.getUint32(40, true),
    object: view.getUint32(44, true),
    table: part(48),
    rowsSection: part(80),
    storedBytes: u64(view, 112),
    digest: hex(bytes.subarray(120, 152)),
    dtype: bytes[152],
  };
  need(entry.columnId <= 2 ** 32 - 2, "the column id 2^32 - 1", rule);
  need(isZero(bytes.subarray(153)), "a reserved byte is set", rule);
  if (entry.required !== 0) return entry; // what else stands here, only a newer reader knows
  need(flags >> 7 === 0, "a reserved flag is set", rule);
  need(u64(view, 24) === rows, `a column of ${u64(view, 24)} rows in a file of ${rows}`, rule);
  need(entry.blocks <= MOST_BLOCKS, `${entry.blocks} blocks`, "format.md 11");
  need(entry.hasObject ? entry.object < objects : entry.object === 0, `object ${entry.object} of ${objects}`, rule);
  needPart(entry.table, entry.isTableZstd, "the table", footer);
  if (entry.isRagged || entry.isOptional) {
    needPart(entry.rowsSection, entry.isRowsZstd, "the rows section", footer);
  } else {
    need(isZero(bytes.subarray(80, 112)) && !entry.isRowsZstd, "a rows section without a flag for it", rule);
  }
  return entry;
}

/** Check the extent of a table or rows section. */
function needPart(part, isZstd, what, footer) {
  need(part.contentBytes <= MOST_SECTION, `${what} of ${part.contentBytes} bytes`, "format.md 11");
  need(isZstd || part.bytes === part.contentBytes, `${what} is raw, and its lengths differ`, "format.md 4.7");
  need(part.offset >= footer.tailOffset && part.offset + part.bytes <= footer.indexOffset,
    `${what} lies outside the tail`, "format.md 11", part.offset);
}

function parseObjectEntry(bytes, footer) {
  const rule = "format.md 4.8";
  const view = viewOf(bytes);
  const flags = view.getUint16(58, true);
  const entry = {
    digest: hex(bytes.subarray(0, 32)),
    offset: u64(view, 32),
    storedBytes: u64(view, 40),
    contentBytes: u64(view, 48),
    kind: view.getUint16(56, true),
    isEmbedded: (flags & 1) === 1,
  };
  need(flags >> 1 === 0 && isZero(bytes.subarray(60)), "a reserved bit is set", rule);
  need(entry.contentBytes <= MOST_CONTENT, `an object of ${entry.contentBytes} bytes`, "format.md 11");
  need(entry.storedBytes <= 2 * MOST_CONTENT, `an object of ${entry.storedBytes} stored bytes`, "format.md 11");
  if (entry.isEmbedded) {
    need(entry.offset >= footer.tailOffset && entry.offset + entry.storedBytes <= footer.indexOffset,
      "an object lies outside the tail", "format.md 11", entry.offset);
  } else {
    need(entry.offset === 0, "the offset of an object that is not embedded", rule);
  }
  return entry;
}

const MEASURED = { 1: "float", 2: "float", 3: "float?", 4: "integer" };

/** Parse the metadata of a data file (4.9). */
function parseFileMetadata(bytes, index) {
  const rule = "format.md 4.9";
  const fields = needFields(parseMetadata(bytes),
    { 1: "array", 2: "string", 3: "map?", 4: "string?", 5: "map?", 6: "map?" }, "the metadata of a file");
  const records = fields.get(1);
  need(records.length === index.entries.length, `${records.length} records of ${index.entries.length} columns`, rule);
  index.columns = parseColumns(records, rule);
  for (const [i, column] of index.columns.entries()) {
    const entry = index.entries[i];
    need(column.id === entry.columnId, `the record of column ${column.id} stands for ${entry.columnId}`, rule);
    need(column.type === entry.type, `the record and the entry of ${column.name} differ in type`, rule);
  }
  index.attachments = new Map();
  for (const [number, name] of fields.get(3) ?? []) {
    needKind(name, "string", "the name of an attachment");
    need(number < index.objects.length, `an attachment names object ${number}`, rule);
    const entry = index.objects[number];
    need(entry.isEmbedded && entry.kind === 1, `object ${number} is no embedded attachment`, rule);
    index.attachments.set(name, Number(number));
  }
  index.metadata = needMetadata(fields.get(4));
  for (const level of (fields.get(5) ?? new Map()).values()) needKind(level, "string", "a level");
  for (const measured of (fields.get(6) ?? new Map()).values()) needFields(measured, MEASURED, "a measured error");
}
