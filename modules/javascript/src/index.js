export { Invalid, ModelError } from './errors.js';
export { log } from './host.js';
export { model } from './model.js';
export { Nullable, Rows } from './packed.js';
export { module } from './stage.js';
export { among, blob, bool, f32, f64, i16, i32, i64, i8, optional, shaped, text, u16, u32, u64, u8 } from './types.js';
