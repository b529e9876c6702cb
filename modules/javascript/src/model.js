import { host } from './host.js';
import { read, write } from './packed.js';

const described = () => {
  if (!host.model) throw new Error('there is no model here: a test gives one, as in run(module, rows, { model })');
  return host.model.describe();
};

/** The bundle's model, which runs outside the sandbox. */
export const model = {
  get inputs() { return described().inputs; },
  get outputs() { return described().outputs; },
  /** Takes the model's inputs by name, on as many rows as the first has, and gives its outputs. */
  compute(columns) {
    const { inputs, outputs } = described();
    const rows = columns[inputs[0]?.name]?.length;
    if (rows === undefined) throw new TypeError(`the model's input '${inputs[0]?.name}' is missing`);
    return read(outputs, rows, host.model.compute(rows, write(inputs, rows, columns)));
  },
};
