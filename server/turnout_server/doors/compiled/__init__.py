"""The contract's hot messages, compiled: a request's bytes to the engine's struct, a decision to bytes.

Knows protobuf's wire form and the contract, but no gRPC and no sockets, and needs no GIL.
"""
