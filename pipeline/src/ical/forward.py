"""Forward a TCP port: `python -m ical.forward PORT HOST:PORT` shows the dashboard on the host.

Standard library only, and the name is looked up for every connection, so that a scheduler that
moved is found again.
"""

from __future__ import annotations

import asyncio
import sys

CHUNK = 65536


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the sender stops, then close the receiver's side."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(port: int, host: str, target_port: int) -> None:
    """Listen on a port and pass every connection on to host:target_port, for ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, target_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(accept, "0.0.0.0", port)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    host, _, target_port = arguments[1].rpartition(":")
    asyncio.run(serve(int(arguments[0]), host, int(target_port)))


if __name__ == "__main__":
    main(sys.argv[1:])
