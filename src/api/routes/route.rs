//! What a row of the table is made of that the router needs. The build script reads it too.

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// One JSON object with the schema of this name.
    Json(#[allow(dead_code, reason = "for the description")] &'static str),
    /// JSON objects with the schema of this name, one a line.
    Lines(#[allow(dead_code, reason = "for the description")] &'static str),
}

/// A parameter after the `?`.
#[derive(Debug)]
pub struct Param {
    pub name: &'static str,
    pub required: bool,
    pub schema: &'static str,
    #[allow(dead_code, reason = "for the description")]
    pub about: &'static str,
}

/// One method of one path.
#[derive(Debug)]
pub struct Route {
    pub method: &'static str,
    /// `{name}` stands for one segment.
    pub path: &'static str,
    pub body: Body,
    pub query: &'static [Param],
    /// Whether it answers without the key.
    pub open: bool,
    /// Whether it is for users with their token, too.
    pub users: bool,
}

/// A route without a body and a query, that wants the key.
pub const fn route(method: &'static str, path: &'static str) -> Route {
    Route {
        method,
        path,
        body: Body::None,
        query: &[],
        open: false,
        users: false,
    }
}

impl Route {
    pub const fn takes(self, body: Body) -> Self {
        Self { body, ..self }
    }

    pub const fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    pub const fn users(self) -> Self {
        Self {
            users: true,
            ..self
        }
    }

    pub const fn open(self) -> Self {
        Self { open: true, ..self }
    }
}

/// A parameter that may be left out.
pub const fn param(name: &'static str, schema: &'static str, about: &'static str) -> Param {
    Param {
        name,
        required: false,
        schema,
        about,
    }
}

/// A parameter that has to be there.
pub const fn required(name: &'static str, schema: &'static str, about: &'static str) -> Param {
    Param {
        required: true,
        ..param(name, schema, about)
    }
}

/// The name of a `{name}` segment.
pub fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
