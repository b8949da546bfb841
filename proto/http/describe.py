"""Writes the descriptor set that a gRPC-JSON transcoder reads: the contract, its HTTP rules, and what errors are made of."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2, status_pb2
from turnout.v1 import completion_pb2, error_reason_pb2, routing_pb2

RULES = Path(__file__).with_name("rules.yaml")
# The transcoder writes an error's details as JSON where it knows their types.
ROOTS = (routing_pb2, completion_pb2, error_reason_pb2, status_pb2, error_details_pb2, annotations_pb2)


def describe() -> bytes:
    """The set, each file after those that it imports; equal contracts give equal bytes.

    Raises:
        KeyError: a rule's selector is no method of the contract.
    """
    files: dict[str, FileDescriptor] = {}
    for module in ROOTS:
        _add(module.DESCRIPTOR, files)
    described = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(described.file.add())
    methods = {
        f"{file.package}.{service.name}.{method.name}": method
        for file in described.file
        for service in file.service
        for method in service.method
    }
    for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["http"]["rules"]:
        http = ParseDict({key: value for key, value in rule.items() if key != "selector"}, HttpRule())
        methods[rule["selector"]].options.Extensions[annotations_pb2.http].CopyFrom(http)
    return described.SerializeToString(deterministic=True)


def _add(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    for imported in file.dependencies:
        _add(imported, files)
    files.setdefault(file.name, file)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(describe())
