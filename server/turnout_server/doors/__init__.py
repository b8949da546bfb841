"""The only rooms that know gRPC."""
