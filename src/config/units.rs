//! Values with a unit, and the words people write for them.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::StrDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes: `32MiB`, `20GB`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time: `200ms`, `25s`, `1h 30m`, `30d`. A bare number is refused: of what?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// `on`, `off`, `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnOff(pub bool);

/// An IP address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

/// A list, or one value that stands for a list of one. `None` is an item with nothing in it, or one
/// that was taken out because it did not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List<T>(pub Vec<Option<T>>);

impl Bytes {
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    pub const fn tib(n: u64) -> Self {
        Self(n << 40)
    }

    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

impl Span {
    /// Longer ones overflow the clock on some systems, and nobody means them.
    pub const MAX: Self = Self::days(100 * 365);

    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    pub const fn days(n: u64) -> Self {
        Self::secs(n * 24 * 60 * 60)
    }
}

impl<T> List<T> {
    pub fn of<const N: usize>(items: [T; N]) -> Self {
        Self(items.into_iter().map(Some).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A value written as one word.
trait Word: Sized + fmt::Display {
    const NAME: &'static str;
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self, String>;

    fn from_number(_: u64) -> Option<Self> {
        None
    }

    fn from_bool(_: bool) -> Option<Self> {
        None
    }

    fn schema() -> Schema;
}

impl Word for Bytes {
    const NAME: &'static str = "Bytes";
    const EXPECTED: &'static str = "a size such as 512KiB, 32MiB or 20GiB";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) => Ok(Self(size.0)),
            Err(_) => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        Some(Self(number))
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]+)? *([kKmMgGtTpP][iI]?)?[bB]?$",
            "minimum": 0,
            "examples": ["512KiB", "32MiB", "20GiB"],
        })
    }
}

impl Word for Span {
    const NAME: &'static str = "Duration";
    const EXPECTED: &'static str = "a duration such as 200ms, 25s, 10m, 12h or 30d";

    fn from_text(text: &str) -> Result<Self, String> {
        // humantime adds up unchecked; numbers of this length cannot overflow it.
        let digits = text
            .split(|c: char| !c.is_ascii_digit())
            .map(str::len)
            .max();
        if digits > Some(15) {
            return Err(format!("`{text}` is too long"));
        }
        match humantime::parse_duration(text) {
            Ok(duration) if duration > Self::MAX.0 => {
                Err(format!("`{text}` is longer than 100 years"))
            }
            Ok(duration) => Ok(Self(duration)),
            Err(_) => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^([0-9]+(\.[0-9]+)? *[a-zA-Zµ]+ *)+$",
            "examples": ["200ms", "25s", "10m", "12h", "30d"],
        })
    }
}

impl Word for OnOff {
    const NAME: &'static str = "OnOff";
    const EXPECTED: &'static str = "on or off";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "on" | "true" => Ok(Self(true)),
            "off" | "false" => Ok(Self(false)),
            _ => Err(format!("`{text}` is neither on nor off")),
        }
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(Self(value))
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["on", "off", true, false] })
    }
}

impl Word for Address {
    const NAME: &'static str = "Address";
    const EXPECTED: &'static str = "an IP address and a port such as 0.0.0.0:9999 or [::]:9999";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["0.0.0.0:9999", "[::]:9999"] })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units
            .iter()
            .find(|(bits, _)| self.0 != 0 && self.0.is_multiple_of(1 << bits));
        let (bits, unit) = whole.unwrap_or(&(0, "B"));
        write!(f, "{}{unit}", self.0 >> bits)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ];
        let millis = self.0.as_millis();
        // `300s` reads better than `5m` beside `5s`, `60s` and `120s`.
        let whole = units
            .iter()
            .find(|(unit, _)| millis > 5 * unit && millis.is_multiple_of(*unit));
        let (unit, name) = match whole {
            Some((unit, name)) => (*unit, *name),
            None if millis.is_multiple_of(1000) => (1000, "s"),
            None => (1, "ms"),
        };
        write!(f, "{}{name}", millis / unit)
    }
}

impl fmt::Display for OnOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct WordVisitor<T>(std::marker::PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        let error = || E::invalid_type(serde::de::Unexpected::Unsigned(number), &self);
        T::from_number(number).ok_or_else(error)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        let error = || E::invalid_type(serde::de::Unexpected::Bool(value), &self);
        T::from_bool(value).ok_or_else(error)
    }
}

macro_rules! words {
    ($($word:ty),*) => {$(
        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WordVisitor(std::marker::PhantomData))
            }
        }

        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $word {
            fn schema_name() -> Cow<'static, str> {
                <Self as Word>::NAME.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                <Self as Word>::schema()
            }
        }
    )*};
}

words!(Bytes, Span, OnOff, Address);

struct ListVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
        T::deserialize(StrDeserializer::new(text)).map(|item| List::of([item]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(List(list))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item }] })
    }
}
