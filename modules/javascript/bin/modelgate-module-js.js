#!/usr/bin/env node
// The command that `modelgate module` calls for modules in JavaScript and TypeScript.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const usage = 'usage: modelgate-module-js build FILE [--out WASM] | test [PATH]';

/** What the sandbox does not have; a module that imports none of it needs none of it. */
const FEATURES = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];

async function build(file, out) {
  const { build: bundle } = await import('esbuild');
  const { componentize } = await import('@bytecodealliance/componentize-js');
  const bundled = await bundle({
    stdin: {
      contents: `import module from ${JSON.stringify(resolve(file))};
        import { guest } from '@modelgate/module/guest';
        export const { init, process } = guest(module);`,
      resolveDir: here,
    },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    external: ['modelgate:*'],
    // One copy of this package, whichever the author's file finds.
    alias: { '@modelgate/module/guest': `${here}/src/guest.js`, '@modelgate/module': `${here}/src/index.js` },
    logLevel: 'silent',
  }).catch((error) => {
    const told = error.errors?.map(({ text, location }) => {
      const where = location ? `${location.file}:${location.line}: ` : '';
      const node = /Could not resolve "(node:)?(\w+)"/.exec(text);
      return `${where}${text}${node ? ': the sandbox has no files, network or processes, and none of Node\'s modules' : ''}`;
    });
    throw new Error(told?.join('\n') ?? error.message);
  });
  const contract = [`${here}/wit`, `${here}/../wit`].find((path) => existsSync(path));
  const { component } = await componentize(bundled.outputFiles[0].text, {
    witPath: contract, worldName: 'module', disableFeatures: FEATURES,
  });
  writeFileSync(out, component);
  console.log(`${out}: ${(component.length / 1e6).toFixed(1)} MB`);
  console.log(`sha256 = "${createHash('sha256').update(component).digest('hex')}"`);
}

function test(path) {
  const folder = statSync(path).isDirectory();
  const done = spawnSync(process.execPath, ['--test', ...(folder ? [] : [resolve(path)])], {
    stdio: 'inherit', cwd: folder ? path : dirname(path),
  });
  process.exit(done.status ?? 1);
}

try {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string', short: 'o' } } });
  const [command, path = '.'] = positionals;
  if (command === 'build' && positionals.length === 2) {
    await build(path, values.out ?? path.replace(/\.\w+$/, '.wasm'));
  } else if (command === 'test') {
    test(path);
  } else {
    throw new Error(usage);
  }
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}
