import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Invalid } from '@modelgate/module';
import { run } from '@modelgate/module/testing';
import mine from './mine.js';

test('ages fall into groups', () => {
  const rows = [{ age: 3, city: 'Cali' }, { age: 40, city: null }, { age: 65, city: 'Cali' }];
  assert.deepEqual(run(mine, rows), [{ age_bucket: 0n }, { age_bucket: 1n }, { age_bucket: 2n }]);
});

test('an impossible age is the caller\'s', () => {
  assert.throws(() => run(mine, [{ age: 200, city: null }]), Invalid);
});
