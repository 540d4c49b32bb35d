//! What a row of the API's table says beside its route: for the description alone.

/// Open WebUI keeps them; or the store can't now.
pub const LOCAL: &[u16] = &[409, 503];
/// The same for something that may not be there.
pub const LOCAL_ONE: &[u16] = &[404, 409, 503];

/// A change of what the store keeps, of something new and of something that may not be there.
pub const CHANGE: &[u16] = &[409, 503, 507];
pub const CHANGE_ONE: &[u16] = &[404, 409, 413, 503, 507];

/// In place of a schema: the answer is a file.
pub const FILE: &str = "";

/// The same: the answer is server-sent events, or there is nothing more to say.
pub const EVENTS: &str = "text/event-stream";

/// What there is to say about a route.
pub struct Words {
    /// The operation's id.
    pub name: &'static str,
    pub tag: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// What else there is to know.
    pub more: &'static str,
    /// The schema of a 200; `None` answers 204.
    pub answer: Option<&'static str>,
    /// A 201 is as likely as a 200.
    pub makes: bool,
    /// Problems beside those that the key, the path, the query and the body can have.
    pub problems: &'static [u16],
}

/// Of a route that answers 204.
pub const fn words(name: &'static str, tag: &'static str, about: &'static str) -> Words {
    Words {
        name,
        tag,
        about,
        more: "",
        answer: None,
        makes: false,
        problems: &[],
    }
}

impl Words {
    pub const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    pub const fn answers(self, schema: &'static str) -> Self {
        Self {
            answer: Some(schema),
            ..self
        }
    }

    pub const fn makes(self, schema: &'static str) -> Self {
        Self {
            makes: true,
            ..self.answers(schema)
        }
    }

    pub const fn or(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }
}
