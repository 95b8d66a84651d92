"""Relays TCP connections from one address to another, for isolated hosts.

python -m marketing_platform.testing.faults.relay 127.0.0.1:9901=10.213.1.1:9901 ...
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CHUNK = 65536


async def main(routes: list[str]) -> None:
    """Relay until the process is ended."""
    servers = []
    for route in routes:
        here, there = (address.split(":") for address in route.split("="))
        servers.append(
            await asyncio.start_server(_carrier(there[0], int(there[1])), *here)
        )
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _carrier(host: str, port: int):  # type: ignore[no-untyped-def]
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))

    return carry


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
