//! JSON objects, and nothing that could pass for one.

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::marker::PhantomData;

/// A JSON object read as `T`. serde alone would also take an array, field by field, whose values nobody has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[derive(Debug, Deserialize)]
    struct Outer<'a> {
        id: String,
        #[serde(borrow)]
        raw: &'a RawValue,
        inner: Option<Object<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        n: u8,
    }

    #[test]
    fn an_object_is_read_by_its_names() {
        let json = r#"{"inner":{"n":7},"more":[],"raw":{ "a":1},"id":"x"}"#;
        let Object(outer) = serde_json::from_str::<Object<Outer<'_>>>(json).unwrap();
        assert_eq!((&*outer.id, outer.raw.get()), ("x", r#"{ "a":1}"#));
        assert_eq!(outer.inner.unwrap().0.n, 7);
    }

    #[test]
    fn an_array_is_none() {
        for json in [
            r#"["x",{},null]"#,
            r#"{"id":"x","raw":{},"inner":[7]}"#,
            r#"{"id":"x","id":"y","raw":{}}"#,
            "[]",
            "null",
            "7",
            r#""id""#,
        ] {
            assert!(
                serde_json::from_str::<Object<Outer<'_>>>(json).is_err(),
                "{json}"
            );
        }
    }
}
