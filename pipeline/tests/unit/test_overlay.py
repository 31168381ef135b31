"""The proof of the overlay: an echo that works, and each way in which it does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ical import overlay

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """The port of a server with this handler."""
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _lose_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What too small an MTU does: little comes back, much does not."""
    writer.write(await reader.readexactly(overlay.SMALL))
    await reader.read()


async def _change(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a broken checksum offload may do."""
    while data := await reader.read(overlay.LARGE):
        writer.write(bytes(byte ^ 1 for byte in data))


async def _answer(handler: Handler) -> dict[str, dict[str, str]]:
    async with listening(handler) as port:
        return await overlay.probe(["localhost"], port, 0.0)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "PATIENCE", 0.5)


def test_an_echo_is_no_failure() -> None:
    async def both() -> dict[str, dict[str, str]]:
        async with await overlay.start(0) as server:
            port = server.sockets[0].getsockname()[1]
            return await overlay.probe(["localhost", "127.0.0.1"], port, 0.0)

    assert asyncio.run(both()) == {}


@pytest.mark.parametrize(("handler", "step"), [(_lose_large, "large"), (_change, "small")])
def test_what_does_not_come_back_whole_names_its_step(handler: Handler, step: str) -> None:
    assert asyncio.run(_answer(handler))["localhost"]["step"] == step


def test_nobody_there_and_nobody_known_are_told_apart(free_port: int) -> None:
    names = ["127.0.0.1", "no-such-host.invalid"]
    found = asyncio.run(overlay.probe(names, free_port, 0.0))
    assert {name: failure["step"] for name, failure in found.items()} == {
        "127.0.0.1": "connect",
        "no-such-host.invalid": "resolve",
    }


def test_it_waits_for_a_server_that_is_late(free_port: int) -> None:
    command = [sys.executable, "-m", "ical.overlay"]
    asking = subprocess.Popen(
        [*command, "probe", str(free_port), "20", "localhost"], stdout=subprocess.PIPE
    )
    serving = subprocess.Popen([*command, "serve", str(free_port)])
    try:
        output, _ = asking.communicate(timeout=30)
    finally:
        serving.terminate()
        serving.wait(10)
    assert json.loads(output) == {}
