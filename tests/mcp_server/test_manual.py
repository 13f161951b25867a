"""The manual as a client has it that can read resources and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import mcp
import pytest

from mcp_server import manual, protocol
from mcp_server.door import Door
from mcp_server.session import TOOLSETS, EngineSession
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
CHARACTERS_A_TOKEN = 4
MOST_TOKENS = 8_000
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


@pytest.fixture
async def client() -> AsyncIterator[mcp.Client]:
    async def unasked() -> EngineSession:
        raise AssertionError("a page needs no engine")

    async with mcp.Client(protocol.build(Door(unasked, fake.options(), "memory"))) as connected:
        yield connected


async def text_of(client: mcp.Client, uri: str) -> str:
    return str((await client.read_resource(uri)).contents[0].text)


def prose(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def headings(text: str) -> set[str]:
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


async def test_every_link_of_every_page_leads_to_what_can_be_read(client: mcp.Client) -> None:
    listed = [str(one.uri) for one in (await client.list_resources()).resources if str(one.uri).startswith("docs://")]
    assert "docs://mcp" in listed
    followed = 0
    for uri in listed:
        for target in LINK.findall(prose(await text_of(client, uri))):
            if target.startswith("https://"):
                continue
            there = await text_of(client, target)
            anchor = target.partition("#")[2]
            assert not anchor or anchor in headings(there), f"{uri} links to {target}"
            followed += 1
    assert followed > 20


async def test_the_list_says_when_to_read_a_page_and_how_long_it_is(client: mcp.Client) -> None:
    for one in (await client.list_resources()).resources:
        if not str(one.uri).startswith("docs://"):
            continue
        text = await text_of(client, str(one.uri))
        assert one.description.startswith("Read it ") and len(one.description) <= 120, one.uri
        assert text.startswith(f"# {one.title}\n") and one.size == len(text.encode())
        assert len(text) <= MOST_TOKENS * CHARACTERS_A_TOKEN, f"{one.uri} is long: split it"


def test_the_first_page_names_every_toolset() -> None:
    assert [name for name in TOOLSETS if f"`{name}`" not in manual.pages()["mcp"].text] == []


@pytest.mark.parametrize(
    ("written", "served"),
    [
        ("[it](b.md)", "[it](docs://b)"),
        ("[it](b.md#part)", "[it](docs://b#part)"),
        ("[below](#part)", "[below](docs://a#part)"),
        ("[it](c.md)", "it"),
        ("[the files](../examples/gitops)", "the files"),
        ("[decision 2](decisions/0002-x.md)", "decision 2"),
        ("[`code`](c.md)", "`code`"),
        ("[far](https://example.com/b.md)", "[far](https://example.com/b.md)"),
        ("`[it](b.md)`", "`[it](b.md)`"),
        ("```\n[it](b.md)\n```", "```\n[it](b.md)\n```"),
    ],
)
def test_a_link_becomes_an_address_or_its_words(written: str, served: str) -> None:
    assert manual.linked(written, "a", {"a", "b"}.__contains__) == served
