// What a module is inside the sandbox: the contract's two functions. `build` bundles it with the author's file.
import { log as hostLog } from 'modelgate:module/log@1.0.0';
import { compute, describe } from 'modelgate:module/model@1.0.0';
import { Invalid, ModelError } from './errors.js';
import { host, log } from './host.js';

let described;

function failed(error) {
  if (error instanceof Invalid) {
    const problems = error.problems.map(({ message, column, row }) => ({ message: String(message), column, row }));
    return { tag: 'invalid-input', val: problems };
  }
  if (error instanceof ModelError) return { tag: 'model', val: error.message };
  return { tag: 'internal', val: `${error}\n${error?.stack ?? ''}`.trim() };
}

// The error of a model's call, as the bindings throw it.
function raised(error) {
  const { tag, val } = error?.payload ?? error ?? {};
  if (tag === 'invalid-input') return Invalid.of(val);
  return tag === 'model' || tag === 'internal' ? new ModelError(val) : error;
}

const columns = (given) => given.map(({ name, datatype, shape, nullable }) => ({
  name,
  type: { datatype, isText: datatype === 'bytes', nullable, shape: Array.from(shape, Number).slice(1), categories: [] },
}));

const toContract = (given) => given.map(({ name, type }) => ({
  name,
  datatype: type.datatype,
  shape: BigInt64Array.from([-1, ...type.shape].map(BigInt)),
  nullable: type.nullable,
  categories: type.categories,
}));

export function guest(module) {
  let stage;
  host.log = hostLog;
  host.model = {
    describe() {
      if (!described) {
        const signature = describe();
        described = { inputs: columns(signature.inputs), outputs: columns(signature.outputs) };
      }
      return described;
    },
    compute(rows, words) {
      try {
        return compute(rows, words);
      } catch (error) {
        throw raised(error);
      }
    },
  };
  for (const [name, level] of [['log', 'info'], ['info', 'info'], ['debug', 'debug'], ['warn', 'warn'], ['error', 'error']]) {
    console[name] = (...parts) => log[level](parts.map(String).join(' '));
  }
  return {
    init(config) {
      try {
        stage = module.start(config);
        return { inputs: toContract(stage.inputs), outputs: toContract(stage.outputs) };
      } catch (error) {
        throw failed(error);
      }
    },
    process(rows, words) {
      try {
        return stage.process(rows, words);
      } catch (error) {
        throw failed(error);
      }
    },
  };
}
