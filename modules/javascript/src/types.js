// The types of columns: `f64`, `optional(text)`, `shaped(f32, 54)`.

/** The contract's `enum datatype`, with the array that holds each. `f16` is missing: no such array is everywhere yet. */
export const ARRAYS = {
  bool: Uint8Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array,
  i8: Int8Array, i16: Int16Array, i32: Int32Array, i64: BigInt64Array, f32: Float32Array, f64: Float64Array,
};

const type = (datatype, more = {}) =>
  Object.freeze({ datatype, isText: false, nullable: false, shape: [], categories: [], ...more });

export const bool = type('bool');
export const u8 = type('u8');
export const u16 = type('u16');
export const u32 = type('u32');
export const u64 = type('u64');
export const i8 = type('i8');
export const i16 = type('i16');
export const i32 = type('i32');
export const i64 = type('i64');
export const f32 = type('f32');
export const f64 = type('f64');
export const text = type('bytes', { isText: true });
export const blob = type('bytes');

export const optional = (of) => Object.freeze({ ...of, nullable: true });
export const shaped = (of, ...shape) => {
  if (!shape.length || shape.some((size) => !Number.isInteger(size) || size < -1)) {
    throw new TypeError(`expected sizes, or -1 for one that each batch brings, got ${shape}`);
  }
  return Object.freeze({ ...of, shape });
};
export const among = (of, ...categories) => Object.freeze({ ...of, categories });

export const told = (of) => {
  const name = of.isText ? 'text' : of.datatype === 'bytes' ? 'blob' : of.datatype;
  const whole = of.shape.length ? `shaped(${name}, ${of.shape.join(', ')})` : name;
  return of.nullable ? `optional(${whole})` : whole;
};

/** A signature's side, checked. */
export function side(columns, name) {
  if (typeof columns !== 'object' || columns === null) {
    throw new TypeError(`${name}: expected an object of names and types, as in { age: f64 }`);
  }
  return Object.entries(columns).map(([column, of]) => {
    if (!of || typeof of !== 'object' || !(of.datatype === 'bytes' || of.datatype in ARRAYS)) {
      throw new TypeError(`${name}: column '${column}': expected a type like f64 or optional(text)`);
    }
    return { name: column, type: of };
  });
}
