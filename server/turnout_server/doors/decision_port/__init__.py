"""The decision port: a compiled HTTP/2 listener that answers `RoutingService` and health without Python on its path."""
