"""An agent that asks a store by the Model Context Protocol, in memory."""

from __future__ import annotations

import asyncio
import json

from vergence.mcp.server import server


class Agent:
    """A client in memory, called as a function: an answer, or the line of an error."""

    def __init__(self, tools):
        self.server = server(tools)

    def results(self, *calls):
        from mcp import Client

        async def talk():
            async with Client(self.server) as client:
                return [await client.call_tool(name, arguments) for name, arguments in calls]

        return asyncio.run(talk())

    def __call__(self, name, **arguments):
        (result,) = self.results((name, arguments))
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content

    def refused(self, name, **arguments):
        (result,) = self.results((name, arguments))
        assert result.is_error and len(result.content) == 1
        line = result.content[0].text
        assert line and "\n" not in line and "Traceback" not in line and len(line) <= 600
        return line


def everything(folder):
    """Return the bytes of every file below a folder, by its place."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
