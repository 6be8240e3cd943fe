//! Reading sections: what may be left out, left empty, or written in one way only.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A mapping, and nothing else: serde would also take a list of a struct's fields in their order.
struct Mapping<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Mapping<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

pub fn optional_section<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Mapping(PhantomData))
}

/// A section with nothing in it, as when all its keys are comments, is one of defaults.
pub fn section<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(optional_section(deserializer)?.unwrap_or_default())
}

pub fn sections<'de, T, D>(deserializer: D) -> Result<Vec<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(bound = "T: Deserialize<'de>")]
    struct Slot<T>(#[serde(deserialize_with = "optional_section")] Option<T>);

    let slots = Option::<Vec<Slot<T>>>::deserialize(deserializer)?;
    Ok(slots
        .unwrap_or_default()
        .into_iter()
        .map(|slot| slot.0)
        .collect())
}

/// A key that may be left out, but not left empty.
pub fn value<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
