//! The hash of CatBoost's categories: the low half of version 1 of CityHash64.

#![expect(clippy::many_single_char_names, reason = "they are called so where the hash is described")]

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

/// The hash of a category.
pub(super) fn category(text: &[u8]) -> u32 {
    hash(text) as u32
}

fn hash(text: &[u8]) -> u64 {
    match text.len() {
        0..=16 => up_to_16(text),
        17..=32 => up_to_32(text),
        33..=64 => up_to_64(text),
        _ => long(text),
    }
}

/// Eight bytes, the lowest first; zeros where the text ends, which no caller asks for.
fn eight(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn four(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn pair(low: u64, high: u64) -> u64 {
    const FACTOR: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = shift_mix((low ^ high).wrapping_mul(FACTOR));
    let b = shift_mix((high ^ a).wrapping_mul(FACTOR));
    b.wrapping_mul(FACTOR)
}

fn up_to_16(text: &[u8]) -> u64 {
    let len = text.len();
    if len > 8 {
        let (a, b) = (eight(text, 0), eight(text, len - 8));
        return pair(a, b.wrapping_add(len as u64).rotate_right(len as u32)) ^ b;
    }
    if len >= 4 {
        return pair((len as u64).wrapping_add(four(text, 0) << 3), four(text, len - 4));
    }
    if len > 0 {
        let [a, b, c] = [text[0], text[len >> 1], text[len - 1]].map(u32::from);
        let y = u64::from(a + (b << 8));
        let z = u64::from(len as u32 + (c << 2));
        return shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2);
    }
    K2
}

fn up_to_32(text: &[u8]) -> u64 {
    let len = text.len();
    let a = eight(text, 0).wrapping_mul(K1);
    let b = eight(text, 8);
    let c = eight(text, len - 8).wrapping_mul(K2);
    let d = eight(text, len - 16).wrapping_mul(K0);
    pair(
        a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d),
        a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c).wrapping_add(len as u64),
    )
}

fn up_to_64(text: &[u8]) -> u64 {
    let len = text.len();
    let half = |start: u64, first: usize, z: u64| {
        let (mut a, mut c) = (start, start.rotate_right(37));
        let b = a.wrapping_add(z).rotate_right(52);
        a = a.wrapping_add(eight(text, first + 8));
        c = c.wrapping_add(a.rotate_right(7));
        a = a.wrapping_add(eight(text, first + 16));
        (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
    };
    let mixed = (len as u64).wrapping_add(eight(text, len - 16)).wrapping_mul(K0);
    let (vf, vs) = half(eight(text, 0).wrapping_add(mixed), 0, eight(text, 24));
    let (wf, ws) = half(eight(text, 16).wrapping_add(eight(text, len - 32)), len - 32, eight(text, len - 8));
    let r = vf.wrapping_add(ws).wrapping_mul(K2).wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0));
    shift_mix(shift_mix(r).wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

fn weak(text: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let [w, x, y, z] = [0, 8, 16, 24].map(|step| eight(text, at + step));
    let mut a = a.wrapping_add(w);
    let mut b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let c = a;
    a = a.wrapping_add(x).wrapping_add(y);
    b = b.wrapping_add(a.rotate_right(44));
    (a.wrapping_add(z), b.wrapping_add(c))
}

fn long(text: &[u8]) -> u64 {
    let len = text.len();
    let mut x = eight(text, 0);
    let mut y = eight(text, len - 16) ^ K1;
    let mut z = eight(text, len - 56) ^ K0;
    let mut v = weak(text, len - 64, len as u64, y);
    let mut w = weak(text, len - 32, (len as u64).wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(len - 1) & !63).step_by(64) {
        x = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(eight(text, at + 16)).rotate_right(37).wrapping_mul(K1);
        y = y.wrapping_add(v.1).wrapping_add(eight(text, at + 48)).rotate_right(42).wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(text, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(text, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    pair(pair(v.0, w.0).wrapping_add(shift_mix(y).wrapping_mul(K1)).wrapping_add(z), pair(v.1, w.1).wrapping_add(x))
}
