"""The service config that the clients of all languages share: retries, throttling, default deadlines.

gRPC takes a `timeout` of the service config as a ceiling of the caller's own deadline. Here it is a default,
so the timeouts are read from the file and left out of what the channel is given.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

FILE_NAME = "service_config.json"


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The file, in two parts.

    Attributes:
        channel_json: retry policies and throttling, as the channel option `grpc.service_config` takes them.
        timeouts_s: default deadline of each method, in seconds, by "service/method".
    """

    channel_json: str
    timeouts_s: dict[str, float]


@functools.cache
def load_service_config() -> ServiceConfig:
    """Reads the file in the package, once a process."""
    document: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath(FILE_NAME).read_text(encoding="utf-8")
    )
    timeouts_s: dict[str, float] = {}
    for method_config in document["methodConfig"]:
        timeout_s = float(method_config.pop("timeout").removesuffix("s"))
        for name in method_config["name"]:
            timeouts_s[f"{name['service']}/{name['method']}"] = timeout_s
    return ServiceConfig(json.dumps(document, separators=(",", ":")), timeouts_s)
