import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as sdk from '@modelgate/module';
import { fakeModel, run } from '@modelgate/module/testing';

const { Invalid, Rows, among, bool, f32, f64, i64, i8, model, module, optional, shaped, text, u64, u8 } = sdk;

const VALUES = {
  bool: [true, false, true], u8: [0, 255, 7], u16: [0, 65535, 7], u32: [0, 2 ** 32 - 1, 7], u64: [0n, 2n ** 64n - 1n, 7n],
  i8: [-128, 127, 7], i16: [-32768, 32767, 7], i32: [-(2 ** 31), 2 ** 31 - 1, 7], i64: [-(2n ** 63n), 2n ** 63n - 1n, 7n],
  f32: [0.5, Infinity, 7], f64: [0.1, -Infinity, 7], text: ['', 'añb', 'x'.repeat(99)],
};

for (const [name, values] of Object.entries(VALUES)) {
  for (const nullable of [false, true]) {
    for (const shape of [[], [2], [-1]]) {
      test(`${name} ${nullable} [${shape}] goes in and comes out`, () => {
        let of = shape.length ? shaped(sdk[name], ...shape) : sdk[name];
        if (nullable) of = optional(of);
        const side = { a: f64, x: of, b: i8 };
        const value = (i) => {
          const found = [nullable && i === 1 ? null : values[i], values[(i + 1) % 3]];
          return shape.length ? found : found[0];
        };
        const rows = [0, 1, 2].map((i) => ({ a: 1.5, x: value(i), b: -3 }));
        assert.deepEqual(run(module({ inputs: side, outputs: side }, { process: (columns) => columns }), rows), rows);
        assert.deepEqual(run(module({ inputs: side, outputs: side }, { row: (r) => r }), rows), rows);
      });
    }
  }
}

const answering = (of, ...values) => module({ inputs: { x: f64 }, outputs: { y: of } }, { process: () => ({ y: values }) });
for (const [of, values, words] of [
  [i8, [1, 128], "column 'y', row 1: expected i8, got 128"],
  [i64, [1, 1.5], "column 'y', row 1: expected i64, got 1.5"],
  [u64, [-1, 1], "column 'y', row 0: expected u64, got -1"],
  [f64, [1, null], "column 'y', row 1: expected f64, got null"],
  [bool, [true, 1], "column 'y', row 1: expected bool, got 1"],
  [text, ['a', 3], "column 'y', row 1: expected text, got 3"],
  [f32, [1], "column 'y': expected 2 values, one for each row, got 1"],
  [shaped(u8, 2), [[1, 2], [3]], "column 'y', row 1: expected shaped(u8, 2)"],
]) {
  test(`an answer of another type is told: ${words}`, () => {
    assert.throws(() => run(answering(of, ...values), [{ x: 1 }, { x: 2 }]), (error) => error.message.includes(words));
  });
}

test('problems name column and row and come together', () => {
  const refusing = module({ inputs: { age: f64 }, outputs: { y: f64 } }, {
    row(r) {
      if (r.age > 130) throw new Invalid('too old', { column: 'age' });
      return { y: r.age };
    },
  });
  assert.throws(() => run(refusing, [{ age: 200 }, { age: 3 }, { age: 131 }]), (error) => {
    assert.deepEqual(error.problems, [0, 2].map((row) => ({ message: 'too old', column: 'age', row })));
    return error instanceof Invalid;
  });
});

test('an error of the function names the row', () => {
  const failing = module({ inputs: { x: f64 }, outputs: { y: f64 } }, { row: (r) => ({ y: r.x.no.such }) });
  assert.throws(() => run(failing, [{ x: 1 }]), /in row 0 of 1/);
});

test('the configuration decides', () => {
  const scaled = module({
    config: (parsed) => parsed.names, inputs: (names) => Object.fromEntries(names.map((name) => [name, f64])), outputs: { y: f64 },
  }, { row: (r, names) => ({ y: names.reduce((sum, name) => sum + r[name], 0) }) });
  assert.deepEqual(run(scaled, [{ a: 1, b: 2 }], { config: { names: ['a', 'b'] } }), [{ y: 3 }]);
  assert.throws(() => scaled.start(new TextEncoder().encode('{')), /not JSON/);
});

test('the model is called with names', () => {
  const double = fakeModel({ X: shaped(f32, -1) }, { Y: shaped(f32, -1) }, ({ X }) => ({ Y: new Rows(X.flat.map((x) => 2 * x), X.shape) }));
  const calling = module({ inputs: { a: f64, b: f64 }, outputs: { y: f64 } }, {
    process: ({ a, b }) => ({ y: [...model.compute({ X: Array.from(a, (x, i) => [x, b[i]]) }).Y].map((row) => row[0] + row[1]) }),
  });
  assert.deepEqual(run(calling, [{ a: 1, b: 2 }, { a: 3, b: 4 }], { model: double }), [{ y: 6 }, { y: 14 }]);
  assert.throws(() => run(calling, [{ a: 1, b: 2 }]), /no model here/);
});

test('declarations are checked where they are written', () => {
  assert.throws(() => module({ inputs: { x: Number }, outputs: {} }, { row: () => ({}) }), /column 'x': expected a type/);
  assert.throws(() => module({ inputs: {}, outputs: {} }, {}), /expected \{ row/);
  assert.throws(() => shaped(f64, 0.5), /expected sizes/);
  assert.deepEqual(among(text, 'a', 'b').categories, ['a', 'b']);
});
