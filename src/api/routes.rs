//! From a path and a method to the function that answers.

pub mod route;

/// Of each row the router takes the function and the route.
macro_rules! routes {
    ($($when:ident $module:ident::$function:ident => $route:expr, $words:expr;)*) => {
        /// Every route, and what answers it.
        pub static ROUTES: &[(super::route::Route, super::Call)] = &[
            $(($route, |request| super::$when(crate::api::$module::$function(request))),)*
        ];
    };
}

pub mod table;

use super::ApiResult;
use super::input::{self, ApiRequest};
use super::reply::Problem;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use route::Route;
use route::parameter;
use std::pin::Pin;
use table::ROUTES;

/// A function of a resource.
pub type Call = fn(ApiRequest) -> Answer;

/// What it answers, at once or later.
pub enum Answer {
    Now(ApiResult),
    Later(Pin<Box<dyn Future<Output = ApiResult>>>),
}

fn now(answer: ApiResult) -> Answer {
    Answer::Now(answer)
}

fn later(answer: impl Future<Output = ApiResult> + 'static) -> Answer {
    Answer::Later(Box::pin(answer))
}

/// What a path and a method lead to.
pub enum Found {
    /// With the path's parameters, decoded, in order.
    Route(&'static Route, Call, Result<Vec<String>, Problem>),
    /// The path takes these methods.
    OtherMethod(String),
    Nothing,
}

impl Found {
    pub fn problem(self) -> Problem {
        match self {
            Self::OtherMethod(allow) => {
                let problem = Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("This takes {allow}."),
                );
                match HeaderValue::from_str(&allow) {
                    Ok(allow) => problem.with(header::ALLOW, allow),
                    Err(_) => problem,
                }
            }
            _ => Problem::missing(
                "There is no such path; /api/v1/openapi.json describes those there are.",
            ),
        }
    }
}

pub fn find(method: &str, path: &str) -> Found {
    let mut others = Vec::new();
    for (route, call) in ROUTES {
        if matches(route.path, path) {
            if route.method == method {
                return Found::Route(route, *call, parameters(route.path, path));
            }
            others.push(route.method);
        }
    }
    match others.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethod(others.join(", ")),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/');
    let fits = |segment: &str| match (path.next(), parameter(segment)) {
        (Some(given), Some(_)) => !given.is_empty(),
        (given, None) => given == Some(segment),
        (None, _) => false,
    };
    pattern.split('/').all(fits) && path.next().is_none()
}

fn parameters(pattern: &str, path: &str) -> Result<Vec<String>, Problem> {
    let pairs = pattern.split('/').zip(path.split('/'));
    let given = pairs.filter_map(|(segment, given)| Some((parameter(segment)?, given)));
    given
        .map(|(name, given)| input::segment(name, given))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        match find(method, path) {
            Found::Route(route, _, Ok(path)) => format!("{} {path:?}", route.path),
            Found::Route(_, _, Err(problem)) => problem.status.as_str().to_owned(),
            Found::OtherMethod(allow) => allow,
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn paths_lead_where_the_table_says() {
        assert_eq!(found("POST", "/api/v1/emit"), "/api/v1/emit []");
        assert_eq!(
            found("POST", "/api/v1/rooms/channel:a%2Fb%20c/enter"),
            r#"/api/v1/rooms/{room}/enter ["channel:a/b c"]"#
        );
        assert_eq!(
            found("GET", "/api/v1/rooms/%C3%9F+"),
            r#"/api/v1/rooms/{room} ["ß+"]"#
        );
        assert_eq!(found("PUT", "/api/v1/rooms/x"), "GET, DELETE");
        for path in [
            "/api/v1/",
            "/api/v1/emit/",
            "/api/v1/rooms//enter",
            "/api/v1/rooms/",
            "/api/v1/rooms/a/b/c",
            "/api/v1/{room}",
        ] {
            assert_eq!(found("GET", path), "nothing", "{path}");
        }
        for path in ["%", "%4", "%zz", "%ff", "%00", "a%0a"] {
            assert_eq!(
                found("GET", &format!("/api/v1/rooms/{path}")),
                "422",
                "{path}"
            );
        }
    }

    #[test]
    fn no_row_is_hidden_by_another_one() {
        for (route, _) in ROUTES {
            let path = route.path.replace(['{', '}'], "");
            assert!(
                found(route.method, &path).starts_with(&format!("{} ", route.path)),
                "{}",
                route.path
            );
        }
    }
}
