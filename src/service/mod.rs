//! The gRPC edge: services, conversion, limits, health.
//!
//! Handlers are thin: validate, convert, call one engine verb, convert back.
