//! One answer in several forms (interim).

use super::{Api, Variant};

/// The forms.
pub fn all(_: Api) -> &'static [Variant] {
    &[]
}

/// The forms.
pub fn sources(_: Api, _: &Variant) -> &'static [Variant] {
    &[]
}

/// The forms.
pub fn convert(_: Api, _: &Variant, _: &Variant, _: &[u8]) -> Option<Vec<u8>> {
    None
}
