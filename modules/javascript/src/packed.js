// Packed columns to values and back. `modules/columns` describes the layout; the tests and the sandbox share this.
import { Invalid } from './errors.js';
import { ARRAYS, told } from './types.js';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const aligned = (at) => (at + 7) & ~7;

/** Values of which some may be missing; `values` and `present` are the parts, without copies. */
export class Nullable {
  constructor(values, present) {
    this.values = values;
    this.present = present;
  }
  get length() { return this.present.length; }
  at(index) { return this.present.at(index) ? this.values.at(index) : null; }
  *[Symbol.iterator]() { for (let i = 0; i < this.length; i++) yield this.at(i); }
}

/** Several values in each row: `at(row)` gives the row's values, in order. */
export class Rows {
  constructor(flat, shape) {
    this.flat = flat;
    this.shape = shape;
    this.size = shape.slice(1).reduce((product, size) => product * size, 1);
  }
  get length() { return this.shape[0]; }
  at(row) {
    const flat = this.flat instanceof Nullable ? [...this.flat] : this.flat;
    return flat.slice(row * this.size, (row + 1) * this.size);
  }
  *[Symbol.iterator]() { for (let i = 0; i < this.length; i++) yield this.at(i); }
}

/** The columns of a batch by name. Numbers are views of `words`. */
export function read(columns, rows, words) {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const found = {};
  let at = 0;
  for (const { name, type } of columns) {
    const shape = [rows];
    for (const size of type.shape) {
      shape.push(size < 0 ? Number(words[at / 8]) : size);
      if (size < 0) at += 8;
    }
    const count = shape.reduce((product, size) => product * size, 1);
    let present;
    if (type.nullable) {
      present = bytes.subarray(at, at + count);
      at = aligned(at + count);
    }
    let values;
    if (type.datatype === 'bytes') {
      const offsets = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count + 1);
      at = aligned(at + 4 * (count + 1));
      values = strings(name, type, offsets, bytes.subarray(at, at + offsets[count]), present, count / (rows || 1));
      at = aligned(at + offsets[count]);
    } else {
      values = new ARRAYS[type.datatype](bytes.buffer, bytes.byteOffset + at, count);
      at = aligned(at + values.byteLength);
      if (type.datatype === 'bool') values = Array.from(values, Boolean);
      if (present) values = new Nullable(values, present);
    }
    found[name] = type.shape.length ? new Rows(values, shape) : values;
  }
  return found;
}

function strings(name, type, offsets, data, present, size) {
  return Array.from({ length: offsets.length - 1 }, (_, i) => {
    if (present && !present[i]) return null;
    const value = data.subarray(offsets[i], offsets[i + 1]);
    if (!type.isText) return value;
    try {
      return decoder.decode(value);
    } catch {
      throw new Invalid('expected UTF-8 text, got other bytes', { column: name, row: Math.floor(i / size) });
    }
  });
}

/** Packs a batch. Throws a `TypeError` that names the column and the row where a value is not of its column's type. */
export function write(columns, rows, values) {
  for (const name of Object.keys(values)) {
    if (!columns.some((column) => column.name === name)) throw new TypeError(`the signature has no column '${name}'`);
  }
  const parts = [];
  let length = 0;
  const push = (data) => {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    parts.push([length, bytes]);
    length = aligned(length + bytes.length);
  };
  for (const { name, type } of columns) {
    let value = values[name];
    if (value === undefined) throw new TypeError(`column '${name}' is missing`);
    if (typeof value === 'string' || value?.length !== rows) {
      throw new TypeError(`column '${name}': expected ${rows} values, one for each row, got ${value?.length ?? value}`);
    }
    let size = 1;
    if (type.shape.length) {
      const { flat, shape } = flattened(name, type, value, rows);
      value = flat;
      size = shape.slice(1).reduce((product, dim) => product * dim, 1);
      push(BigUint64Array.from(shape.slice(1).filter((_, i) => type.shape[i] < 0).map(BigInt)));
    }
    if (type.nullable) {
      const list = [...value];
      push(Uint8Array.from(list, (each) => Number(each !== null && each !== undefined)));
      const filler = type.isText ? '' : type.datatype === 'bytes' ? new Uint8Array() : type.datatype === 'bool' ? false : 0;
      value = list.map((each) => each ?? filler);
    }
    if (type.datatype === 'bytes') {
      const encoded = Array.from(value, (each, i) => encode(name, type, each, Math.floor(i / size)));
      const offsets = new Uint32Array(encoded.length + 1);
      encoded.forEach((each, i) => { offsets[i + 1] = offsets[i] + each.length; });
      push(offsets);
      const data = new Uint8Array(offsets[encoded.length]);
      encoded.forEach((each, i) => data.set(each, offsets[i]));
      push(data);
    } else {
      push(numbers(name, type, value, size));
    }
  }
  const words = new BigUint64Array(length / 8);
  const bytes = new Uint8Array(words.buffer);
  for (const [at, part] of parts) bytes.set(part, at);
  return words;
}

function encode(name, type, value, row) {
  if (type.isText ? typeof value !== 'string' : !(value instanceof Uint8Array)) throw wrong(name, row, type, value);
  return type.isText ? encoder.encode(value) : value;
}

function numbers(name, type, values, size) {
  const holder = ARRAYS[type.datatype];
  if (values instanceof holder && type.datatype !== 'bool') return values;
  const out = new holder(values.length);
  let i = 0;
  for (const value of values) {
    // An array takes what does not fit and makes another number of it, so each is looked at.
    if (!fits(type.datatype, value)) throw wrong(name, Math.floor(i / size), type, value);
    out[i++] = out instanceof BigInt64Array || out instanceof BigUint64Array ? BigInt(value) : Number(value);
  }
  return out;
}

const LIMITS = Object.fromEntries([8, 16, 32, 64].flatMap((bits) => [
  [`u${bits}`, [0n, (1n << BigInt(bits)) - 1n]],
  [`i${bits}`, [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]],
]));

function fits(datatype, value) {
  if (datatype === 'bool') return typeof value === 'boolean';
  if (datatype === 'f32' || datatype === 'f64') return typeof value === 'number';
  if (typeof value !== 'bigint' && !Number.isInteger(value)) return false;
  const [least, most] = LIMITS[datatype];
  return value >= least && value <= most;
}

function flattened(name, type, value, rows) {
  if (value instanceof Rows) return { flat: value.flat, shape: checked(name, type, value.shape) };
  let flat = [...value];
  const shape = [rows];
  for (const size of type.shape) {
    const length = flat[0]?.length ?? Math.max(size, 0);
    const odd = flat.findIndex((part) => part?.length !== length || typeof part === 'string');
    if (odd >= 0) {
      const row = Math.floor((odd * rows) / flat.length);
      throw new TypeError(`column '${name}', row ${row}: expected ${told(type)}, got rows of different sizes or no rows`);
    }
    flat = flat.flatMap((part) => [...part]);
    shape.push(length);
  }
  return { flat, shape: checked(name, type, shape) };
}

function checked(name, type, shape) {
  if (shape.length !== type.shape.length + 1 || type.shape.some((size, i) => size >= 0 && size !== shape[i + 1])) {
    throw new TypeError(`column '${name}': expected ${told(type)}, got ${shape.slice(1).join('×')} values a row`);
  }
  return shape;
}

function wrong(name, row, type, value) {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return new TypeError(`column '${name}', row ${row}: expected ${told(type)}, got ${text.slice(0, 80)}`);
}
