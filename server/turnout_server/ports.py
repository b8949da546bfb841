"""Whether a port is free, said in the words of the operating system; grpc only says that it could not."""

from __future__ import annotations

import socket
from typing import Any

from turnout_server.lifecycle import StartError

Address = tuple[socket.AddressFamily, Any]


def check_free(host: str, port: int) -> Address:
    """Listens nowhere, but makes sure that one could.

    Returns:
        The family and the address, with a port of its own where `port` is 0.

    Raises:
        StartError: the address is not free, or not this machine's.
    """
    family, address = find_address(host, port)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            # A port whose last connections are still being closed counts as free.
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
            return family, alone.getsockname()
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def find_address(host: str, port: int) -> Address:
    """Family and address to listen on.

    Raises:
        StartError: the host has none.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return family, address


def reserve_port(host: str, port: int) -> socket.socket:
    """A socket that holds the port for workers that listen on it too, without listening itself.

    Raises:
        StartError: the address is not free.
    """
    # Alone first: another server may share its port, and connections would be split between it and us.
    family, address = check_free(host, port)
    shared = socket.socket(family, socket.SOCK_STREAM)
    try:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(address)
    except OSError as error:
        shared.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return shared
