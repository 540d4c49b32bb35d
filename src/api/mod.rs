//! What a backend may ask over HTTP, one file a resource.
