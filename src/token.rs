//! JSON Web Tokens, HS256 only (RFC 7519, RFC 7515).
