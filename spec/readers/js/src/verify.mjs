// Verifying a store or a file whole, and collecting what is found there (spec/vectors/README.md).

import { sum, sums } from "./bytes.mjs";
import { isNaNBits } from "./dtypes.mjs";
import { ReadError, need, within } from "./failure.mjs";
import { constantsOf, rangesOf } from "./manifest.mjs";
import { needFields } from "./metadata.mjs";
import { extremesOf, rangeKind } from "./ranges.mjs";
import { TEXT, primaryOf } from "./schema.mjs";
import { SingleFile } from "./single.mjs";
import { spansOf } from "./spans.mjs";
import { parsePart, parseView } from "./staged.mjs";
import { Files, NAME, placeShards, readUpTo } from "./store.mjs";
import { verifyFile, verifyWhole } from "./verifyfile.mjs";

const PAGE = "format.md 8.3";
const ROOT = "format.md 8.1";
const MOST_PART_FILE = 2 ** 27;
const MOST_VIEW_FILE = 2 ** 30 + 32;

/** What was found: rows are stored values of every column, or null where they are missing. */
class Found {
  constructor(schema) {
    this.schema = schema;
    this.ids = [];
    this.rows = new Map(schema.map((column) => [column.name, []])); // name -> {stored, context} or null
    this.refused = new Set();
    this.spans = [];
    this.attachments = new Map();
    this.metadata = null;
  }

  refuse(column) {
    this.refused.add(column.name);
    this.rows.delete(column.name);
  }
}

/**
 * Check everything that belongs to a version of a store, or to a file.
 * @param {import("./store.mjs").Store | SingleFile} reader
 */
export async function verify(reader) {
  const found = await (reader instanceof SingleFile ? verifySingle(reader) : verifyStore(reader));
  found.metadata = reader.metadata;
  for (const name of reader.attachments) found.attachments.set(name, await reader.attachment(name));
  return found;
}

async function verifySingle(reader) {
  const found = new Found(reader.schema);
  const { file } = reader;
  await within(reader.path, () => verifyFile(file));
  for (let row = 0; row < reader.length; row++) found.ids.push(row);
  for (const column of reader.schema) {
    const part = file.columns.get(column.id);
    if (part.isReadable) found.rows.set(column.name, await rowsOf(part, 0, part.entry.rows));
    else found.refuse(column);
  }
  const first = file.columns.get(primaryOf(reader.schema).id);
  if (first.isReadable) found.spans.push(spansOf(first));
  return found;
}

/** The stored values of rows, each with what decoding it took. */
async function rowsOf(part, from, to) {
  const context = await part.context();
  const rows = [];
  for await (const piece of part.pieces(from, to)) {
    for (let row = piece.from; row < piece.to; row++) {
      const at = row - piece.from;
      rows.push(part.isMissing(row) ? null : { stored: piece.values.subarray(piece.begins[at], piece.begins[at + 1]), context });
    }
  }
  return rows;
}

async function verifyStore(store) {
  const found = new Found(store.schema);
  const { root } = store;
  const checker = new Shards(store.files, found);
  const sum9 = { samples: 0, shards: 0, values: 0 };
  const runs = [];
  for (const [number, record] of root.pages.entries()) {
    const read = await store.page(number);
    const plan = await store.plan(number);
    await within(`pages/${record.page.digest}`, async () => {
      checkRecord(read, root, runs);
      const checked = await checker.verify(read, plan);
      need(checked.values === record.values, "the page record has another number of values", "format.md 8.2");
      sum9.samples += record.samples - record.deleted;
      sum9.shards += record.shards;
      sum9.values += checked.values - checked.deletedValues;
    });
  }
  await within(`manifests/${root.version}`, async () => {
    needDifferentIds(runs);
    for (const name of store.attachments) await store.attachment(name);
    checkTotals(root, sum9, checker, store.files);
    checkColumnTotals(root.columns, root.body.get(11), checker, true);
  });
  found.store = { id: root.storeId, version: root.version, tags: root.tags };
  await verifyParts(store, found);
  await verifyViews(store, found);
  return found;
}

/** Check what page and deletions decide about a page record (8.2). */
function checkRecord({ record, page, deletions }, root, runs) {
  const rule = "format.md 8.2";
  let low = Infinity;
  let high = -1;
  for (const { first, starts } of page.ids) {
    for (let i = 0; i < first.length; i++) {
      const end = first[i] + starts[i + 1] - starts[i];
      runs.push([first[i], end]);
      low = Math.min(low, first[i]);
      high = Math.max(high, end - 1);
    }
  }
  need(sum(page.samples) === record.samples, "the page record has another number of samples", rule);
  need(high < root.nextSampleId, "a sample id is not below next_sample_id", "format.md 7.2");
  const [first, last] = high < 0 ? [0, 0] : [low, high];
  need(record.firstSampleId === first && record.lastSampleId === last, "the page record has other sample ids", rule);
  let gone = 0;
  for (const shard of deletions?.deleted ?? []) for (const [from, to] of shard) gone += to - from;
  need(gone === record.deleted, "the page record has another number of deleted samples", rule);
}

function needDifferentIds(runs) {
  runs.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < runs.length; i++) need(runs[i][0] >= runs[i - 1][1], "two samples have one id", "format.md 7.2");
}

/** What the shards of all pages add up to in one column (root key 11). */
class ColumnTotals {
  constructor(column) {
    this.column = column;
    this.values = 0;
    this.storedBytes = 0;
    this.missing = 0;
    this.nan = 0;
    this.extremes = column.meaning !== null && rangeKind(column) !== null ? extremesOf(column) : null;
  }
}

/** Verifies the shards of pages, with their data files. */
class Shards {
  constructor(files, found) {
    this.files = files;
    this.found = found;
    this.totals = new Map(found.schema.map((column) => [column.id, new ColumnTotals(column)]));
    this.lines = new Map(); // file id -> what a page says of the file
    this.rowsTaken = new Map(); // column and file -> first row and end of every shard that has the column there
  }

  /** Check one page; returns the values of the primary column, and those of deleted samples. */
  async verify({ page, deletions, shards }, plan) {
    const { found } = this;
    for (const line of page.files) await this.#file(line, page);
    const placed = new Map();
    for (const column of found.schema) placed.set(column.id, await this.#column(column, page, shards));
    const first = primaryOf(found.schema);
    need(plan.primary === first.id, `the plan is for column ${plan.primary}`, "format.md 8.4");
    const result = await this.#plan(first, page, shards, plan, deletions, placed.get(first.id));
    for (const [s, shard] of shards.entries()) {
      for (const [from, to] of shard.kept.runs()) {
        for (let row = from; row < to; row++) found.ids.push(shard.sampleId(row));
        for (const column of found.schema) {
          const rows = placed.get(column.id)[s];
          const mine = found.rows.get(column.name);
          if (rows !== null && mine !== undefined) for (let row = from; row < to; row++) mine.push(rows[row]);
        }
      }
    }
    return result;
  }

  async #file(line, page) {
    const before = this.lines.get(line.fileId);
    if (before !== undefined) {
      const isSame = before.digest === line.digest && before.indexChecksum === line.indexChecksum;
      if (!isSame) throw new ReadError("checksum", `two pages differ about file ${line.fileId}`, PAGE);
      const isThere = ["fileBytes", "tailOffset", "indexOffset"].every((name) => before[name] === line[name]);
      need(isThere, `two pages differ about file ${line.fileId}`, PAGE);
      return;
    }
    const file = await this.files.dataFile(line, page);
    await within(Files.path(line.fileId), async () => {
      await verifyWhole(file, line);
      await verifyFile(file);
    });
    this.lines.set(line.fileId, line);
  }

  /** Read a column of every shard: its rows, or null where they cannot be read. */
  async #column(column, page, shards) {
    const placement = page.placements.get(column.id);
    const totals = this.totals.get(column.id);
    const isKnown = column.meaning !== null;
    if (placement !== undefined && isKnown) {
      need((placement.missing !== null) === column.optional, `missing counts of ${column.name} are there or not`, PAGE);
      need((placement.nan !== null) === isFloat(column), `NaN counts of ${column.name} are there or not`, PAGE);
      constantsOf(placement, column);
    }
    const ranges = isKnown && placement?.ranges !== undefined ? rangesOf(placement.ranges, page.shards, column) : null;
    const result = [];
    for (const [s, shard] of shards.entries()) {
      const where = await shard.place(column);
      const { part } = where;
      let rows = null;
      if (part !== undefined && !part.isReadable) this.found.refuse(column);
      else if (part !== undefined) rows = await rowsOf(part, where.first, where.first + shard.samples);
      else rows = new Array(shard.samples).fill(where.stored === null ? null : { stored: where.stored, context: {} });
      result.push(rows);
      if (placement === undefined) {
        totals.missing += shard.samples;
        continue;
      }
      this.#place(column, placement, s, where, shard.samples);
      totals.values += placement.values[s];
      totals.storedBytes += placement.storedBytes[s];
      totals.missing += placement.missing?.[s] ?? 0;
      totals.nan += placement.nan?.[s] ?? 0;
      if (rows !== null) this.#count(column, placement, s, rows, part, ranges, totals);
    }
    return result;
  }

  /** Check the place of a shard in its file (8.3, keys 2 and 4). */
  #place(column, placement, s, where, samples) {
    const { part, first } = where;
    if (part === undefined) {
      need(placement.row[s] === 0 && placement.storedBytes[s] === 0, "a shard without a file has a place in one", PAGE);
      return;
    }
    this.#takeRows(column, part.file.path, first, first + samples);
    if (part.entry.required !== 0 || part.firstRow === undefined) return;
    let stored = 0;
    for (let b = 0; b < part.entry.blocks; b++) {
      if (part.firstRow[b] >= first && part.firstRow[b] < first + samples) stored += part.storedBytes[b];
    }
    need(stored === placement.storedBytes[s], `the page has another number of stored bytes of ${column.name}`, PAGE);
  }

  /** Note that a shard has rows of a column in a file, which no other shard may have (8.3). */
  #takeRows(column, path, first, end) {
    if (first === end) return;
    const key = `${column.id} ${path}`;
    const runs = this.rowsTaken.get(key) ?? [];
    const isFree = runs.every(([from, to]) => end <= from || first >= to);
    need(isFree, `two shards have the same rows of ${column.name}`, PAGE);
    runs.push([first, end]);
    this.rowsTaken.set(key, runs);
  }

  /** Compare counts and range of a shard with its values. */
  #count(column, placement, s, rows, part, ranges, totals) {
    const { meaning } = column;
    const extremes = rangeKind(column) === null ? null : extremesOf(column);
    let values = 0;
    let missing = 0;
    let nan = 0;
    for (const row of rows) {
      if (row === null) {
        missing++;
        continue;
      }
      values += row.stored.length;
      if (isFloat(column) && row.context.codec !== 5) for (const x of row.stored) if (isNaNBits(meaning.dtype, x)) nan++;
      for (const one of extremes === null ? [] : [extremes, totals.extremes]) {
        if (column.type === TEXT) one.addText(row.stored);
        else one.add(row.stored);
      }
    }
    const expected = meaning.isRagged || part === undefined ? values : rows.length * meaning.width;
    need(placement.values[s] === expected, `the page has another number of values of ${column.name}`, PAGE);
    if (placement.missing !== null) need(placement.missing[s] === missing, `the page has other missing counts of ${column.name}`, PAGE);
    if (placement.nan !== null) need(placement.nan[s] === nan, `the page has other NaN counts of ${column.name}`, PAGE);
    if (ranges !== null) ranges.check(s, extremes);
  }

  /** Compare the plan with blocks, and deletions with what they leave (8.4, 8.5). */
  async #plan(first, page, shards, plan, deletions, placed) {
    const placement = page.placements.get(first.id);
    const isRagged = first.meaning?.isRagged ?? false;
    let values = 0;
    let deletedValues = 0;
    for (const [s, shard] of shards.entries()) {
      const said = plan.spans(s);
      const { part, first: row } = await shard.place(first);
      let expected = said;
      if (part === undefined) expected = shard.samples === 0 ? [] : [[0, shard.samples, 0, 0]];
      else {
        const isWhole = row === 0 && part.entry.rows === shard.samples;
        need(isWhole, `shard ${s} has some rows of the file of its primary column`, PAGE);
        if (part.isReadable) expected = spansOf(part);
      }
      need(String(said) === String(expected), `the plan of shard ${s} is not that of its blocks`, "format.md 8.4");
      this.found.spans.push(said);
      const unit = first.meaning === null || isRagged ? 1 : first.meaning.width;
      values += (placement?.values[s] ?? 0) / unit;
      if (deletions !== null && placed[s] !== null) {
        const lengths = placed[s].map((one) => (isRagged ? one?.stored.length ?? 0 : 1));
        deletedValues += checkLeft(deletions, s, plan.starts[s], said, lengths);
      }
    }
    return { values, deletedValues };
  }
}

function isFloat(column) {
  return column.meaning.dtype >= 9 && column.meaning.dtype <= 12;
}

/** Check what deletions leave of every span of a shard; returns its deleted values. */
function checkLeft(deletions, s, span, spans, lengths) {
  const rule = "format.md 8.5";
  const starts = sums(lengths);
  const gone = deletions.deleted[s];
  const total = gone.reduce((count, [from, to]) => count + starts[to] - starts[from], 0);
  need(deletions.values[s] === total, "deletions count other values", rule);
  let row = 0;
  let value = 0;
  for (const [i, [, samples, values]] of spans.entries()) {
    let lostSamples = 0;
    let lostValues = 0;
    for (const [from, to] of gone) {
      lostSamples += Math.max(0, Math.min(to, row + samples) - Math.max(from, row));
      lostValues += Math.max(0, Math.min(starts[to], value + values) - Math.max(starts[from], value));
    }
    need(deletions.samplesLeft[span + i] === samples - lostSamples, "deletions leave other samples in a span", rule);
    need(deletions.valuesLeft[span + i] === values - lostValues, "deletions leave other values in a span", rule);
    row += samples;
    value += values;
  }
  return total;
}

/** Check key 9 of a root. */
function checkTotals(root, { samples, shards, values }, checker, files) {
  if (checker.found.refused.size > 0) return; // objects of what cannot be read are not known
  const fileBytes = sum([...checker.lines.values()].map((line) => line.fileBytes));
  const objectBytes = sum(files.objectBytes.values());
  const expected = [samples, shards, values, fileBytes, objectBytes];
  const said = root.body.get(9).map(Number);
  need(String(said) === String(expected), `the totals are ${said}, the parts add up to ${expected}`, ROOT);
}

/** Check key 11 of a root, or key 5 of a part, which has no ranges. */
function checkColumnTotals(columns, table, checker, hasRanges) {
  const ids = columns.map((column) => column.id);
  need(String([...table.keys()]) === String(ids), "totals per column and schema differ", ROOT);
  const kinds = { 1: "integer", 2: "integer", 4: "integer", 5: "integer" };
  if (hasRanges) kinds[3] = "bytes?";
  for (const column of columns) {
    const totals = checker.totals.get(column.id);
    const said = needFields(table.get(column.id), kinds, `the totals of ${column.name}`, ROOT);
    const expected = [totals.values, totals.storedBytes, totals.missing, totals.nan];
    const numbers = [1, 2, 4, 5].map((key) => Number(said.get(key)));
    need(String(numbers) === String(expected), `the totals of ${column.name} are ${numbers}, not ${expected}`, ROOT);
    if (said.has(3) && column.meaning !== null) {
      const range = rangesOf(said.get(3), 1, column);
      if (!checker.found.refused.has(column.name)) range.check(0, totals.extremes);
    }
  }
}

/** Verify the staged parts of a store (8.6). */
async function verifyParts(store, found) {
  found.parts = new Map();
  if (store.folder.list === undefined) return;
  for (const path of await store.folder.list("parts/")) {
    const name = /^parts\/([^/]+)\.tsp$/.exec(path)?.[1];
    if (name === undefined || !NAME.test(name)) continue;
    found.parts.set(name, await within(path, async () => {
      const part = parsePart(await readUpTo(store.folder, path, MOST_PART_FILE), store.zstd);
      const files = new Files(store.folder, store.zstd, part.columns);
      const inside = new Found(part.columns);
      const checker = new Shards(files, inside);
      await checker.verify({ page: part.page, deletions: null, shards: placeShards(part.page, null, files) }, part.plan);
      checkColumnTotals(part.columns, part.totals, checker, false);
      const rule = "format.md 8.6";
      if (part.column === null) need(inside.ids.every((id, i) => id === i), "the ids of a part do not count from 0", rule);
      else need(new Set(inside.ids).size === inside.ids.length, "a part has two values of one sample", rule);
      return { ...part, found: inside };
    }));
  }
}

/** Verify the saved views of a store (8.7). */
async function verifyViews(store, found) {
  found.views = new Map();
  if (store.folder.list === undefined) return;
  for (const path of await store.folder.list("views/")) {
    const name = /^views\/([^/]+)\/view\.tsw$/.exec(path)?.[1];
    if (name === undefined || !NAME.test(name)) continue;
    found.views.set(name, await within(path, async () => {
      const view = parseView(await readUpTo(store.folder, path, MOST_VIEW_FILE), store.id, store.zstd);
      return { view, chosen: await store.choose(view) };
    }));
  }
}
