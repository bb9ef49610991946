//! One use case a file: what the service does, free of tonic types.
