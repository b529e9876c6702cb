// Doubles a length, and says which are large.
import { Invalid, bool, f32, i64, log, module, optional, text } from '@modelgate/module';

interface Settings { limit: number }

export default module({
  config: (parsed): Settings => ({ limit: Number(parsed.limit ?? 100) }),
  inputs: { x: f32, unit: optional(text), count: i64 },
  outputs: { y: f32, isLarge: bool, label: text, count: i64 },
}, {
  row(r, { limit }) {
    if (r.x < 0) throw new Invalid(`expected a length, got ${r.x}`, { column: 'x' });
    const y = 2 * r.x;
    if (y > limit) log.info(`large: ${y}`);
    return { y, isLarge: y > limit, label: `${y} ${r.unit ?? 'units'}`, count: r.count - 1n };
  },
});
