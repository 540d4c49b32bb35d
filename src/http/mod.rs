//! hyper on smol: accept loop, limits, CORS, routes.
