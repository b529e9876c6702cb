/** The type of a column, and in `T` the type of its values. */
export interface Type<T> { readonly datatype: string; readonly nullable: boolean; readonly shape: readonly number[]; readonly __value?: T; }
export declare const bool: Type<boolean>;
export declare const u8: Type<number>;
export declare const u16: Type<number>;
export declare const u32: Type<number>;
/** 64-bit integers come as `bigint`; whole numbers may go out. */
export declare const u64: Type<bigint>;
export declare const i8: Type<number>;
export declare const i16: Type<number>;
export declare const i32: Type<number>;
/** 64-bit integers come as `bigint`; whole numbers may go out. */
export declare const i64: Type<bigint>;
export declare const f32: Type<number>;
export declare const f64: Type<number>;
/** A string. */
export declare const text: Type<string>;
/** A string of bytes. */
export declare const blob: Type<Uint8Array>;
/** Values may be missing; they come as `null`. */
export declare function optional<T>(of: Type<T>): Type<T | null>;
/** Several values in each row; -1 for a size that each batch brings. */
export declare function shaped<T>(of: Type<T>, ...shape: number[]): Type<ArrayLike<T>>;
/** The values that a text is known to take: shown to callers, not enforced. */
export declare function among(of: Type<string>, ...categories: string[]): Type<string>;

export type Side = Record<string, Type<any>>;
type Value<C> = C extends Type<infer T> ? T : never;
type Given<T> = T extends bigint ? bigint | number : T;
export type Row<S extends Side> = { [K in keyof S]: Value<S[K]> };
export type Answer<S extends Side> = { [K in keyof S]: Given<Value<S[K]>> };
/** A column: a typed array that borrows from the batch, an array of texts, `Nullable` or `Rows`. */
export interface Column<T> { readonly length: number; at(index: number): T | undefined; [Symbol.iterator](): Iterator<T>; }
export type Columns<S extends Side> = { [K in keyof S]: Column<Value<S[K]>> };
export type AnswerColumns<S extends Side> = { [K in keyof S]: ArrayLike<Given<Value<S[K]>>> | Column<Value<S[K]>> };

export interface Spec<I extends Side, O extends Side, C> {
  /** Names and types, or a function of the configuration that gives them. */
  inputs: I | ((config: C) => I);
  outputs: O | ((config: C) => O);
  /** Turns the parsed JSON of the stage's configuration file into what the functions get, once for each instance. */
  config?: (parsed: any) => C;
}
export interface Functions<I extends Side, O extends Side, C> {
  /** One row to one row. */
  row?(r: Row<I>, config: C): Answer<O>;
  /** A batch of columns to columns. */
  process?(columns: Columns<I>, config: C): AnswerColumns<O>;
}
export interface Module { start(config: Uint8Array): { process(rows: number, words: BigUint64Array): BigUint64Array }; }
/** Makes functions a module; a file's default export is its module. */
export declare function module<I extends Side, O extends Side, C = any>(spec: Spec<I, O, C>, functions: Functions<I, O, C>): Module;

export interface Problem { message: string; column?: string; row?: number; }
/** The caller's data is at fault: answered with status 422, which names the column and the row. */
export declare class Invalid extends Error {
  constructor(message: string, at?: { column?: string; row?: number });
  readonly problems: Problem[];
  static of(problems: Problem[]): Invalid;
}
/** The model refused or failed: answered with status 500; the text goes to the log. */
export declare class ModelError extends Error {}
/** Values of which some may be missing; `values` and `present` are the parts, without copies. */
export declare class Nullable<T = any> implements Column<T | null> {
  constructor(values: ArrayLike<T>, present: Uint8Array);
  readonly values: ArrayLike<T>; readonly present: Uint8Array; readonly length: number;
  at(index: number): T | null; [Symbol.iterator](): Iterator<T | null>;
}
/** Several values in each row; `shape` begins with the number of rows. */
export declare class Rows<T = any> implements Column<ArrayLike<T>> {
  constructor(flat: ArrayLike<T>, shape: number[]);
  readonly flat: ArrayLike<T>; readonly shape: number[]; readonly length: number;
  at(row: number): ArrayLike<T>; [Symbol.iterator](): Iterator<ArrayLike<T>>;
}
/** Messages to the gateway's log, which keeps 32 lines and 16 KiB of one request. `console` writes there, too. */
export declare const log: Record<'debug' | 'info' | 'warn' | 'error', (message: unknown) => void>;
/** The bundle's model, which runs outside the sandbox. */
export declare const model: {
  readonly inputs: { name: string; type: Type<any> }[];
  readonly outputs: { name: string; type: Type<any> }[];
  /** Takes the model's inputs by name, on as many rows as the first has, and gives its outputs. */
  compute(columns: Record<string, ArrayLike<any> | Column<any>>): Record<string, any>;
};
