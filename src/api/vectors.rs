//! Embeddings as arrays of numbers, looked through and not kept.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{Fault, Worth};

/// True if an array of numbers has something in it, and no null.
pub(super) struct Vector(pub(super) bool);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VectorVisitor;
        impl<'de> Visitor<'de> for VectorVisitor {
            type Value = Vector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector, A::Error> {
                let (mut filled, mut nulls) = (false, false);
                while let Some(number) = seq.next_element::<Option<f64>>()? {
                    filled = true;
                    nulls |= number.is_none();
                }
                Ok(Vector(filled && !nulls))
            }
        }
        deserializer.deserialize_any(VectorVisitor)
    }
}

/// Whether there are as many embeddings as were asked for, and all of them whole.
pub(super) fn check(
    found: impl Iterator<Item = bool>,
    asked: Option<u32>,
    worth: Worth,
) -> Result<(), Fault> {
    let (mut len, mut whole) = (0u64, true);
    for one in found {
        len += 1;
        whole &= one;
    }
    if asked.is_none_or(|asked| asked == 0 || len != u64::from(asked)) {
        worth.check(Fault::WrongCount)?;
    }
    match whole {
        true => Ok(()),
        false => worth.check(Fault::NullItem),
    }
}
