// Puts an age into one of three groups.
import { Invalid, f64, i64, module, optional, text } from '@modelgate/module';

export default module({ inputs: { age: f64, city: optional(text) }, outputs: { age_bucket: i64 } }, {
  row(r) {
    if (!(r.age >= 0 && r.age <= 130)) {
      throw new Invalid(`expected an age from 0 to 130, got ${r.age}`, { column: 'age' });
    }
    return { age_bucket: r.age < 18 ? 0 : r.age < 65 ? 1 : 2 };
  },
});
