import { Invalid } from './errors.js';
import { read, write } from './packed.js';
import { side } from './types.js';

/** Problems of one batch that are told. */
const MAX_PROBLEMS = 100;

/** Makes functions a module: `row(r, config)` for each row, or `process(columns, config)` for a batch. */
export function module({ inputs, outputs, config = (parsed) => parsed }, functions) {
  const { row, process } = functions;
  if (typeof row !== 'function' && typeof process !== 'function') {
    throw new TypeError('expected { row(r, config) } or { process(columns, config) }');
  }
  // What does not depend on a configuration is wrong now, where the author sees it.
  for (const [given, name] of [[inputs, 'inputs'], [outputs, 'outputs']]) {
    if (typeof given !== 'function') side(given, name);
  }
  return { start: (bytes) => new Stage(inputs, outputs, config, functions, bytes), ...functions };
}

/** A module with its configuration: packed batches go in and come out. */
class Stage {
  constructor(inputs, outputs, config, functions, bytes) {
    let parsed = {};
    if (bytes.length) {
      try {
        parsed = JSON.parse(new TextDecoder().decode(bytes));
      } catch (error) {
        throw new Invalid(`the configuration is not JSON: ${error.message}`);
      }
    }
    try {
      this.config = config(parsed);
    } catch (error) {
      throw new Invalid(`the configuration: ${error.message}`);
    }
    this.inputs = side(typeof inputs === 'function' ? inputs(this.config) : inputs, 'inputs');
    this.outputs = side(typeof outputs === 'function' ? outputs(this.config) : outputs, 'outputs');
    this.functions = functions;
  }

  process(rows, words) {
    const columns = read(this.inputs, rows, words);
    const answer = this.functions.row ? this.#rows(rows, columns) : this.functions.process(columns, this.config);
    try {
      return write(this.outputs, rows, answer);
    } catch (error) {
      throw new TypeError(`the answer: ${error.message}`);
    }
  }

  #rows(rows, columns) {
    const names = this.outputs.map((column) => column.name);
    const given = Object.entries(columns);
    const answers = Object.fromEntries(names.map((name) => [name, new Array(rows)]));
    const problems = [];
    for (let i = 0; i < rows && problems.length < MAX_PROBLEMS; i++) {
      const row = {};
      for (const [name, values] of given) row[name] = Array.isArray(values) ? values[i] : values.at(i);
      try {
        const answer = this.functions.row(row, this.config);
        for (const name of names) {
          if (answer?.[name] === undefined) throw new TypeError(`the answer has no column '${name}'`);
          answers[name][i] = answer[name];
        }
      } catch (error) {
        if (!(error instanceof Invalid)) {
          error.message = `${error.message} (in row ${i} of ${rows})`;
          throw error;
        }
        problems.push(...error.problems.map((problem) => ({ ...problem, row: problem.row ?? i })));
      }
    }
    if (problems.length) throw Invalid.of(problems.slice(0, MAX_PROBLEMS));
    return answers;
  }
}
