// Runs a module in a plain test, without a gateway: values go through the same packed columns as there.
import { host } from './host.js';
import { Rows, read, write } from './packed.js';
import { side } from './types.js';

/** Stands in for the bundle's model: a signature, and a function from columns to columns. */
export function fakeModel(inputs, outputs, compute) {
  const sides = { inputs: side(inputs, 'inputs'), outputs: side(outputs, 'outputs') };
  return {
    describe: () => sides,
    compute: (rows, words) => write(sides.outputs, rows, compute(read(sides.inputs, rows, words))),
  };
}

/** The module's answers to these rows as one batch. Throws `Invalid` where the gateway would answer 422. */
export function run(module, rows, { config, model } = {}) {
  const stage = module.start(config === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(config)));
  const columns = Object.fromEntries(stage.inputs.map(({ name }) => [name, rows.map((row) => row[name])]));
  const before = host.model;
  host.model = model;
  try {
    const found = read(stage.outputs, rows.length, stage.process(rows.length, write(stage.inputs, rows.length, columns)));
    return rows.map((_, i) => Object.fromEntries(Object.entries(found).map(
      ([name, values]) => [name, values instanceof Rows ? Array.from(values.at(i)) : values.at(i)])));
  } finally {
    host.model = before;
  }
}
