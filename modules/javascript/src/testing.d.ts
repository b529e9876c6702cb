import type { Module, Side } from './index.js';
export interface FakeModel { describe(): unknown; compute(rows: number, words: BigUint64Array): BigUint64Array; }
/** Stands in for the bundle's model: a signature, and a function from columns to columns. */
export declare function fakeModel(inputs: Side, outputs: Side, compute: (columns: Record<string, any>) => Record<string, any>): FakeModel;
/** The module's answers to these rows as one batch. Throws `Invalid` where the gateway would answer 422. */
export declare function run(module: Module, rows: Record<string, any>[], options?: { config?: unknown; model?: FakeModel }): Record<string, any>[];
