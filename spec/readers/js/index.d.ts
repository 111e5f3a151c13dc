// Types of the reader. `open` and `loadZstd` are those of node.mjs or browser.mjs, whichever the package resolves to.

/** The kinds of errors of format.md 2.7. */
export type Kind = "truncated" | "checksum" | "corrupt" | "unsupported" | "missing";

/** Bytes that break a rule of the specification, or that need a newer reader. */
export class ReadError extends Error {
  readonly kind: Kind;
  /** What is wrong. */
  readonly what: string;
  /** Page and section of the rule, such as "format.md 4.2". */
  readonly rule: string;
  /** Bytes from the start of the file, where known. */
  readonly offset: number | undefined;
  /** The file, where known. */
  readonly path: string | undefined;
}

/** One file, read by ranges. */
export interface Source {
  /** Its length in bytes. */
  size(): Promise<number>;
  /** Bytes from an offset on; fewer than `length` only where the file ends before them. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The last bytes, all where there are fewer, and the length of the file; for sources that know it only then. */
  readLast?(length: number): Promise<{ bytes: Uint8Array; size: number }>;
}

/** A store as a folder of files. */
export interface Folder {
  /** The file at a path such as "manifests/00000000000000000001.tsm". Where it is not there, this or a read throws `missing`. */
  source(path: string): Promise<Source>;
  /** The paths below a folder such as "manifests/"; without it the newest version is found by its number. */
  list?(prefix: string): Promise<string[]>;
}

/** The decoder of zstd; one serves any number of stores. */
export interface Zstd {
  decode(frame: Uint8Array, least: number, most: number, dictionary?: Uint8Array): Uint8Array;
}

export interface ColumnInfo {
  id: number;
  name: string;
  /** "Tokens", "Codes", "Vector", "Score", "Label", "SoftLabel", "Mask", "Category", "Text", "Bytes" or "Array". */
  type: string;
  optional: boolean;
  /** Axes of a sample; a first one of null is ragged, none is one value. Null where the type is not known. */
  shape: (number | null)[] | null;
  /** Dtype of a value as it is stored, such as "uint16" or "float32". */
  dtype: string | null;
  /** Parameters of the type, such as `vocabSize` (registry.md 1). */
  parameters: Record<string, unknown>;
}

export type NumberArray =
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array
  | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Float32Array | Float64Array;

/** The top classes of a sample with their probabilities. */
export interface TopClasses {
  classes: Uint32Array;
  probabilities: Float32Array;
}

/**
 * One sample of a column; null where it is missing.
 *
 * | type | value |
 * |---|---|
 * | Tokens | Int32Array of ids (Uint32Array where the vocabulary has more than 2^31) |
 * | Codes | Uint8Array or Uint16Array |
 * | Vector | Float32Array |
 * | Score | number |
 * | Label | number, bigint without classes; an array where the type has a shape |
 * | SoftLabel | Float32Array of all probabilities, or TopClasses |
 * | Mask | Uint8Array of 0 and 1 |
 * | Category, Text | string |
 * | Bytes | Uint8Array |
 * | Array | an array of the dtype; f16 and bf16 as Float32Array, bits as Uint8Array; a number or bigint without axes |
 *
 * Arrays of more than one axis are flat, the last axis first.
 */
export type Value = null | string | number | bigint | NumberArray | TopClasses;

/** What stores and single files have in common. Positions are those of samples that are not deleted, from 0. */
export interface Reader {
  readonly columns: ColumnInfo[];
  readonly length: number;
  /** JSON text that the writer left, or null. */
  readonly metadata: string | null;
  /** Names of attachments, such as "tokenizer.json". */
  readonly attachments: string[];
  attachment(name: string): Promise<Uint8Array>;
  /** One sample. Without names, columns that this reader does not know are left out. */
  row(position: number, names?: string[]): Promise<Record<string, Value>>;
  sampleId(position: number): Promise<number>;
  /** A column from front to back, value by value. */
  scan(name: string): AsyncGenerator<Value, void, void>;
  /** A column from front to back, in arrays of values: faster than `scan`. */
  pieces(name: string): AsyncGenerator<Value[], void, void>;
}

/** A saved view in the version that is read. */
export interface View {
  /** The samples, in the order of the view. */
  positions: Float64Array;
  /** How often each is expected in an epoch, or null where every weight is 1. */
  weights: Float64Array | null;
  /** Names of its columns, or null for all. */
  columns: string[] | null;
  /** Samples and columns that this version does not have. */
  leftOut: number;
  columnsLeftOut: number;
  /** The version that it was made of, and when, in milliseconds since 1970. */
  version: number | bigint;
  created: number | bigint;
  /** How it was made; for people. */
  verbs: string[];
}

export class Store implements Reader {
  private constructor();
  readonly columns: ColumnInfo[];
  readonly length: number;
  readonly metadata: string | null;
  readonly attachments: string[];
  readonly version: number;
  /** The store id, 32 hexadecimal digits. */
  readonly id: string;
  /** Tags and their versions. */
  readonly tags: Record<string, number>;
  attachment(name: string): Promise<Uint8Array>;
  row(position: number, names?: string[]): Promise<Record<string, Value>>;
  sampleId(position: number): Promise<number>;
  scan(name: string): AsyncGenerator<Value, void, void>;
  pieces(name: string): AsyncGenerator<Value[], void, void>;
  view(name: string): Promise<View>;
}

/** A .tok file that is opened alone. */
export class SingleFile implements Reader {
  private constructor();
  readonly columns: ColumnInfo[];
  readonly length: number;
  readonly metadata: string | null;
  readonly attachments: string[];
  attachment(name: string): Promise<Uint8Array>;
  row(position: number, names?: string[]): Promise<Record<string, Value>>;
  sampleId(position: number): Promise<number>;
  scan(name: string): AsyncGenerator<Value, void, void>;
  pieces(name: string): AsyncGenerator<Value[], void, void>;
}

export interface HttpOptions {
  /** Sent with every request. */
  headers?: Record<string, string>;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
}

export interface OpenOptions extends HttpOptions {
  /** The version of a store; without it the newest one. */
  version?: number;
  /** The decoder; without it `loadZstd()`. */
  zstd?: Zstd;
  /** Browsers: the folder `dist/esm/` of @bokuweb/zstd-wasm. */
  zstdUrl?: string | URL;
}

/** Open a store, or a .tok file: in Node by path or URL, in a browser by URL. */
export function open(place: string | URL, options?: OpenOptions): Promise<Store | SingleFile>;
/** Open a data file behind a source; `path` is its name in errors. */
export function openFile(source: Source, options?: OpenOptions & { path?: string }): Promise<SingleFile>;
export function openStore(folder: Folder, options?: OpenOptions): Promise<Store>;

/** Load the WebAssembly build of zstd, once. */
export function loadZstd(base?: string | URL): Promise<Zstd>;
/** Make a decoder of a zstd that was compiled by Emscripten and is ready. */
export function makeZstd(module: object): Zstd;
/** Start the module of @bokuweb/zstd-wasm with the bytes of its zstd.wasm. */
export function startZstd(module: object, wasm: Uint8Array): Promise<Zstd>;

export class BytesSource implements Source {
  constructor(bytes: Uint8Array);
  size(): Promise<number>;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export class MemoryFolder implements Folder {
  constructor(files: Iterable<[string, Uint8Array]>);
  source(path: string): Promise<Source>;
  list(prefix: string): Promise<string[]>;
}

export class HttpSource implements Source {
  constructor(url: string | URL, options?: HttpOptions);
  size(): Promise<number>;
  read(offset: number, length: number): Promise<Uint8Array>;
  readLast(length: number): Promise<{ bytes: Uint8Array; size: number }>;
}

export class HttpFolder implements Folder {
  constructor(url: string | URL, options?: HttpOptions);
  source(path: string): Promise<Source>;
}

/** Node only. */
export class FileSource implements Source {
  constructor(file: string);
  size(): Promise<number>;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Node only. */
export class FileFolder implements Folder {
  constructor(folder: string);
  source(path: string): Promise<Source>;
  list(prefix: string): Promise<string[]>;
}
