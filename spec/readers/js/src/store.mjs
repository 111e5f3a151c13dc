// A store: a folder with a version that is read (format.md 3, 7, 8).

import { hex, lastNotAbove, sums } from "./bytes.mjs";
import { Cache } from "./cache.mjs";
import { DataFile } from "./datafile.mjs";
import { ReadError, corrupt, need, within } from "./failure.mjs";
import { parseJsonFile } from "./jsonfile.mjs";
import { MOST_ROOT, Page, constantsOf, parseDeletions, parsePlan, parseRoot, unwrapDigested } from "./manifest.mjs";
import { ATTACHMENT, parseObject } from "./objects.mjs";
import { Reader } from "./reader.mjs";
import { KeptRows, PlacedAlike, PlacedInFile, unknownColumn } from "./shard.mjs";
import { missing, readWhole } from "./source.mjs";
import { parseView } from "./staged.mjs";

const RULE = "format.md 3";
const MOST_PAGES = 16; // what is kept of pages, files (with a tail of up to 64 KiB each) and objects
const MOST_FILES = 64;
const MOST_OBJECTS = 32;
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Read a file that has up to `most` bytes; where it has more, one byte more is read. */
export async function readUpTo(folder, path, most) {
  const source = await folder.source(path);
  try {
    return await source.read(0, most + 1);
  } catch (error) {
    throw error.kind === "missing" ? missing(path) : error;
  }
}

/** Read a file, or undefined where it is not there. */
async function readIfThere(folder, path, most) {
  try {
    return await readUpTo(folder, path, most);
  } catch (error) {
    if (error.kind === "missing") return undefined;
    throw error;
  }
}

function rootPath(version) {
  return `manifests/${String(version).padStart(20, "0")}.tsm`;
}

/** What `tokstore.json` says: the id of the store. */
async function readHead(folder) {
  return within("tokstore.json", async () => {
    const head = parseJsonFile(await readUpTo(folder, "tokstore.json", 65536));
    need(head.get("format") === "tokstore", "the folder is no store", RULE);
    const version = /^([0-9]+)\.[0-9]+$/.exec(head.get("version"));
    need(version !== null, "no format version", RULE);
    if (Number(version[1]) > 1) throw new ReadError("unsupported", `format ${head.get("version")}`, "format.md 12.1");
    need(Number(version[1]) === 1, `format ${head.get("version")}`, RULE);
    const id = head.get("store");
    need(typeof id === "string" && /^[0-9a-f]{32}$/.test(id), "no store id", RULE);
    return id;
  });
}

/** The number in `latest`; undefined where the file is missing or damaged, since it is a hint only. */
async function readHint(folder) {
  const bytes = await readIfThere(folder, "latest", 65536);
  if (bytes === undefined) return undefined;
  try {
    const version = parseJsonFile(bytes).get("version");
    return typeof version === "bigint" && version >= 1n && version < 2n ** 53n ? Number(version) : undefined;
  } catch (error) {
    if (error instanceof ReadError) return undefined;
    throw error;
  }
}

/** Find the newest version and the bytes of its root, by listing or by going up from the hint. */
async function readNewest(folder) {
  const hint = await readHint(folder);
  if (folder.list !== undefined) {
    const paths = await folder.list("manifests/");
    let version = hint ?? 0;
    for (const path of paths) version = Math.max(version, Number(/^manifests\/([0-9]{20})\.tsm$/.exec(path)?.[1] ?? 0));
    if (version === 0) throw missing("manifests/");
    return { version, bytes: await readUpTo(folder, rootPath(version), MOST_ROOT) };
  }
  let version = hint ?? 1;
  let [bytes, next] = await Promise.all([version, version + 1].map((one) => readIfThere(folder, rootPath(one), MOST_ROOT)));
  if (bytes === undefined) throw missing(rootPath(version));
  while (next !== undefined) {
    bytes = next;
    version++;
    next = await readIfThere(folder, rootPath(version + 1), MOST_ROOT);
  }
  return { version, bytes };
}

export class Store extends Reader {
  /**
   * Open a version of a store.
   * @param {object} folder
   * @param {{zstd: import("./zstd.mjs").Zstd, version?: number}} options the newest version if none is given
   */
  static async open(folder, { zstd, version }) {
    const [storeId, found] = await Promise.all([
      readHead(folder),
      version === undefined ? readNewest(folder) : { version, bytes: await readUpTo(folder, rootPath(version), MOST_ROOT) },
    ]);
    const path = rootPath(found.version);
    const root = await within(path, async () => {
      if (found.bytes.length === 0 && version !== undefined && (await readNewest(folder)).version > version) {
        throw new ReadError("missing", `version ${version} was removed`, "format.md 9.2");
      }
      const parsed = parseRoot(found.bytes);
      need(parsed.version === found.version, `the root says that it is version ${parsed.version}`, "format.md 8.1");
      need(parsed.storeId === storeId, "the root belongs to another store", "format.md 8.1");
      return parsed;
    });
    return new Store(folder, zstd, root);
  }

  constructor(folder, zstd, root) {
    super(root.columns);
    this.folder = folder;
    this.zstd = zstd;
    this.root = root;
    this.version = root.version;
    this.id = root.storeId;
    this.metadata = root.metadata;
    this.tags = Object.fromEntries(root.tags.map(([name, version]) => [name, Number(version)]));
    this.pageStarts = sums(root.pages.map((record) => record.samples - record.deleted));
    this.length = this.pageStarts[root.pages.length];
    this.files = new Files(folder, zstd, root.columns);
    this.pages = new Cache(MOST_PAGES);
  }

  get attachments() {
    return this.root.attachments.map(([name]) => name);
  }

  /** The bytes of an attachment. */
  async attachment(name) {
    const found = this.root.attachments.find(([one]) => one === name);
    if (found === undefined) throw new RangeError(`there is no attachment ${name}`);
    const [, digest, storedBytes, contentBytes] = found;
    const entry = {
      digest: hex(digest), storedBytes: Number(storedBytes), contentBytes: Number(contentBytes), kind: ATTACHMENT,
    };
    return (await this.files.object(entry)).content.slice();
  }

  /** Read a page, plan or deletions of a page record. */
  async part(record, magic) {
    const path = `${record.folder}/${record.digest}`;
    return within(path, async () => {
      const bytes = record.inline ?? await readUpTo(this.folder, path, record.bytes);
      return unwrapDigested(bytes, record, magic, this.zstd);
    });
  }

  /** The page of a number with its shards, without its plan. */
  page(number) {
    return this.pages.get(number, () => this.#page(this.root.pages[number]));
  }

  async #page(record) {
    const [page, deletions] = await Promise.all([
      this.part(record.page, "TOKSPAGE").then((content) => within(`pages/${record.page.digest}`, async () => new Page(content, record.shards))),
      record.deletions === null ? null : this.part(record.deletions, "TOKSDELS"),
    ]);
    const gone = deletions === null ? null
      : await within(`deletions/${record.deletions.digest}`, async () => parseDeletions(deletions, page.samples, record.spans));
    const shards = placeShards(page, gone, this.files);
    const starts = sums(shards.map((shard) => shard.kept.count));
    need(starts[shards.length] === record.samples - record.deleted, "the page record has another number of samples", "format.md 8.2");
    return { record, page, deletions: gone, shards, starts };
  }

  async plan(number) {
    const record = this.root.pages[number];
    const content = await this.part(record.plan, "TOKSPLAN");
    return within(`plans/${record.plan.digest}`, async () => parsePlan(content, record.shards, record.spans));
  }

  async locate(position) {
    const number = lastNotAbove(this.pageStarts, position, this.root.pages.length);
    const { shards, starts } = await this.page(number);
    return Reader.find(shards, starts, position - this.pageStarts[number]);
  }

  async *shards() {
    for (let number = 0; number < this.root.pages.length; number++) yield* (await this.page(number)).shards;
  }

  /**
   * Read a saved view (8.7).
   * @returns {Promise<object>} positions in this version in the order of the view, their weights or null, names of
   *   columns or null, the number of samples that this version does not have, and what the view says of itself
   */
  async view(name) {
    if (!NAME.test(name)) throw new RangeError(`${name} is no name of a view`);
    const path = `views/${name}/view.tsw`;
    return within(path, async () => {
      const bytes = await readWhole(await this.folder.source(path), 2 ** 30 + 32);
      return this.choose(parseView(bytes, this.id, this.zstd));
    });
  }

  /** Find the samples of a view in this version. */
  async choose(view) {
    const there = new Map(); // number in the view, by ascending ids -> position
    let position = 0;
    for await (const shard of this.shards()) {
      for (const [from, to] of shard.kept.runs()) {
        for (let row = from; row < to; row++, position++) {
          const place = placeOf(view, shard.sampleId(row));
          if (place !== undefined) there.set(place, position);
        }
      }
    }
    const places = view.order === null ? [...there.keys()] : [...view.order].filter((place) => there.has(place));
    const ids = view.columns === null ? null : new Set(view.columns.map(Number));
    const columns = ids === null ? null : this.schema.filter((column) => ids.has(column.id)).map((column) => column.name);
    return {
      version: view.version,
      created: view.created,
      verbs: view.verbs,
      positions: Float64Array.from(places, (place) => there.get(place)),
      weights: view.weights === null ? null : Float64Array.from(places, (place) => view.weights[place] / 65536),
      columns,
      leftOut: view.samples - places.length,
      columnsLeftOut: columns === null ? 0 : view.columns.length - columns.length,
    };
  }
}

/** The number of a sample id among those of a view; undefined where it is not in it. */
function placeOf(view, id) {
  const run = lastNotAbove(view.first, id);
  return run >= 0 && id - view.first[run] < view.count[run] ? view.starts[run] + id - view.first[run] : undefined;
}

/** The shards of a page, with their columns placed in files. */
export function placeShards(page, deletions, files) {
  const constants = new Map();
  return Array.from({ length: page.shards }, (_, s) => ({
    number: s,
    samples: page.samples[s],
    kept: new KeptRows(page.samples[s], deletions?.deleted[s] ?? []),
    sampleId: (row) => page.sampleId(s, row),
    place: async (column) => {
      const placement = page.placements.get(column.id);
      const where = placement?.where[s] ?? 0;
      if (where === 0) {
        need(column.optional || page.samples[s] === 0, `column ${column.name} is absent and not optional`, "format.md 8.3");
        return new PlacedAlike(column, null);
      }
      if (where === 1) {
        if (column.meaning === null) throw unknownColumn(column);
        if (!constants.has(column.id)) constants.set(column.id, constantsOf(placement, column));
        return new PlacedAlike(column, constants.get(column.id).get(s));
      }
      const file = await files.dataFile(page.files[where - 2], page);
      const part = file.columns.get(column.id);
      if (part === undefined) throw corrupt(`file ${file.fileId} has no column ${column.name}`, "format.md 8.3");
      need(placement.row[s] + page.samples[s] <= part.entry.rows,
        `shard ${s} ends outside its file in column ${column.name}`, "format.md 8.3");
      return new PlacedInFile(part, placement.row[s]);
    },
  }));
}

/** The data files and objects of a store; each is opened once. */
export class Files {
  constructor(folder, zstd, columns) {
    this.folder = folder;
    this.zstd = zstd;
    this.columns = new Map(columns.map((column) => [column.id, column]));
    this.dataFiles = new Cache(MOST_FILES);
    this.objects = new Cache(MOST_OBJECTS);
    this.objectBytes = new Map(); // digest -> stored bytes of the objects that were read
  }

  static path(fileId) {
    return `data/${fileId.slice(0, 2)}/${fileId}.tok`;
  }

  dataFile(line, page) {
    const path = Files.path(line.fileId);
    return this.dataFiles.get(line.fileId, () => within(path, async () => {
      const source = await this.folder.source(path);
      const file = await DataFile.open(source, {
        path, line, zstd: this.zstd, schema: this.columns, fetchObject: (entry) => this.object(entry),
      });
      checkObjects(file, line, page);
      return file;
    }));
  }

  /** Read an object in `objects/`, which must be what an entry says of it. */
  async object(entry) {
    const path = `objects/${entry.digest.slice(0, 2)}/${entry.digest}`;
    return within(path, async () => {
      const found = await this.objects.get(entry.digest, async () =>
        parseObject(await readUpTo(this.folder, path, entry.storedBytes), entry, this.zstd));
      this.objectBytes.set(entry.digest, entry.storedBytes);
      need(found.kind === entry.kind && found.content.length === entry.contentBytes, "entries of one object differ", "format.md 4.8");
      return found;
    });
  }
}

/** Compare the objects that a file names with those that its page has for it (8.3). */
function checkObjects(file, line, page) {
  const named = file.index.objects.filter((entry) => !entry.isEmbedded);
  const digests = new Set(named.map((entry) => entry.digest));
  const isSame = digests.size === line.objects.size && [...digests].every((digest) => line.objects.has(digest));
  need(isSame, "page and index name other objects", "format.md 8.3");
  for (const entry of named) {
    need(page.objects.get(entry.digest) === entry.storedBytes, "an object has another size in the page", "format.md 8.3");
  }
}
