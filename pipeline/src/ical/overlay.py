"""Prove the overlay between hosts: `python -m ical.overlay serve PORT`, `probe PORT ...`

Standard library only. A probe asks every name at once and prints, as JSON, the step at which each
failed: resolve (the name is not known), connect (no answer), small (a few bytes do not come back)
or large (more than fits into one packet does not come back whole).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from dataclasses import dataclass

from ical.forward import copy

SMALL = 16  # bytes
LARGE = 65536  # bytes; many packets of any MTU
PATIENCE = 5.0  # seconds that one step may take
PAUSE = 0.5  # seconds between attempts


@dataclass
class Failure(Exception):
    """A step that failed, and why."""

    step: str
    reason: str


async def start(port: int) -> asyncio.Server:
    """Listen on a port (0: any that is free) and send back what comes."""
    return await asyncio.start_server(copy, "0.0.0.0", port)


async def _serve(port: int) -> None:
    async with await start(port) as server:
        await server.serve_forever()


async def _round_trip(
    step: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
) -> None:
    """Send random bytes and compare what comes back."""
    sent = os.urandom(size)
    try:
        writer.write(sent)
        received = await asyncio.wait_for(reader.readexactly(size), PATIENCE)
    except (OSError, asyncio.IncompleteReadError) as error:
        said = str(error) or "no answer"
        raise Failure(step, f"{size} bytes did not come back ({said})") from error
    if received != sent:
        raise Failure(step, f"{size} bytes came back changed")


async def ask(name: str, port: int) -> None:
    """Resolve a name, connect, and send a small and a large payload there and back.

    Raises Failure with the first step that did not work.
    """
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(name, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure("resolve", f"the name is not known ({error})") from error
    address = str(found[0][4][0])
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PATIENCE)
    except OSError as error:
        said = str(error) or "no answer in time"
        raise Failure("connect", f"{address} does not answer ({said})") from error
    try:
        await _round_trip("small", reader, writer, SMALL)
        await _round_trip("large", reader, writer, LARGE)
    finally:
        writer.close()


async def patiently(name: str, port: int, seconds: float) -> dict[str, str] | None:
    """Ask until it works or the time is up; None or the last failure as step and reason."""
    limit = time.monotonic() + seconds
    while True:
        try:
            await ask(name, port)
            return None
        except Failure as failure:
            if time.monotonic() >= limit:
                return {"step": failure.step, "reason": failure.reason}
        await asyncio.sleep(PAUSE)


async def probe(names: list[str], port: int, seconds: float) -> dict[str, dict[str, str]]:
    """The failures among the names, all asked at once; {} when all is well."""
    answers = await asyncio.gather(*(patiently(name, port, seconds) for name in names))
    return {name: answer for name, answer in zip(names, answers, strict=True) if answer}


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if arguments[0] == "serve":
        asyncio.run(_serve(int(arguments[1])))
    else:
        failures = asyncio.run(probe(arguments[3:], int(arguments[1]), float(arguments[2])))
        print(json.dumps(failures))


if __name__ == "__main__":
    main(sys.argv[1:])
