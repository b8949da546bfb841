"""The Complete use-case. No gRPC types."""
