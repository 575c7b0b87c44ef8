"""Links in ready-made lines: they stay where the vendor follows them, else their bytes travel."""

import base64
import json
from contextlib import contextmanager
from typing import Any

import pytest

from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRow
from batchmill.rows.segments import Segments

PNG = b"\x89PNG\r\n\x1a\nrest"
PDF = b"%PDF-1.7\nrest"
LINK = "https://x.test/i"
FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


class Web:
    """Has what is at some links, and remembers what was asked for."""

    def __init__(self, found: dict[str, bytes]) -> None:
        self.found = found
        self.asked: list[str] = []

    @contextmanager
    def fetching(self):
        def fetch(link: str) -> bytes:
            self.asked.append(link)
            if link not in self.found:
                raise InvalidRow("its server answers 404 Not Found")
            return self.found[link]

        yield fetch

    async def gone(self, links):
        return set[str]()


@pytest.fixture
def web(world):
    found = Web({LINK: PNG, "https://x.test/d": PDF})
    world.segments = Segments(world.blobs, web=lambda: found)
    return found


def chat(custom_id: str, link: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": link}}]
    body = {"model": "x", "messages": [{"role": "user", "content": content}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def claude(custom_id: str, source: dict[str, Any], **more: Any) -> dict[str, Any]:
    content = [{"type": "image", "source": source}, {"type": "text", "text": "?"}]
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": content}], **more}
    return {"custom_id": custom_id, "params": {"model": "m", **body}}


def gemini(key: str, file: dict[str, str]) -> dict[str, Any]:
    parts = [{"fileData": file}, {"text": "?"}]
    return {"key": key, "request": {"contents": [{"role": "user", "parts": parts}]}}


def cut(world, lines, dialect, links, **recipe):
    path = world.table("t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return world.cut(path, dialect=dialect, url=DIALECTS[dialect].url, links=links, **recipe)


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -------------------------------------------------------------------------- in another's dialect


def test_a_vendor_that_follows_no_link_gets_the_bytes(world, web):
    cut(world, [chat("a", LINK)], "gemini.generate", ())

    [body] = world.bodies()
    assert body["contents"][0]["parts"][1] == {
        "inlineData": {"mimeType": "image/png", "data": coded(PNG)}
    }


def test_rows_keep_their_order_however_long_a_link_takes(world, web):
    lines = [
        chat("a", "https://x.test/i"),
        chat("b", "data:image/png;base64,AAAA"),
        chat("c", LINK),
    ]
    cut(world, lines, "bedrock.converse", ())

    found = [b["messages"][0]["content"][1]["image"]["source"]["bytes"] for b in world.bodies()]
    assert found == [coded(PNG), "AAAA", coded(PNG)]


def test_a_link_that_leads_to_a_pdf_becomes_a_document(world, web):
    cut(world, [chat("a", "https://x.test/d")], "anthropic.messages", ())

    [body] = world.bodies()
    block = body["messages"][0]["content"][1]
    assert (block["type"], block["source"]["data"]) == ("document", coded(PDF))


def test_a_document_that_a_dialect_takes_as_bytes_only_is_fetched_too(world, web):
    source = {"type": "url", "url": "https://x.test/d"}
    line = claude("a", source)
    line["params"]["messages"][0]["content"][0]["type"] = "document"
    cut(world, [line], "openai.chat", ("http", "https"))

    [body] = world.bodies()
    assert coded(PDF) in body["messages"][0]["content"][0]["file"]["file_data"]


def test_a_link_that_a_vendor_follows_stays_and_nobody_is_asked(world, web):
    cut(world, [chat("a", LINK)], "anthropic.messages", ("http", "https"))

    assert world.bodies()[0]["messages"][0]["content"][1]["source"]["url"] == LINK
    assert web.asked == []


def test_a_link_in_what_a_tool_gave_back_is_fetched_as_well(world, web):
    line = claude("a", {"type": "base64", "media_type": "image/png", "data": "AAAA"})
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    image = {"type": "image", "source": {"type": "url", "url": LINK}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    line["params"]["messages"] += [
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    cut(world, [line], "bedrock.converse", ())

    [content] = world.bodies()[0]["messages"][2]["content"][0]["toolResult"]["content"]
    assert content["image"]["source"]["bytes"] == coded(PNG)


# ----------------------------------------------------------------------- in the vendor's own dialect


def test_in_the_own_dialect_only_the_rows_with_such_a_link_are_written_anew(world, web):
    bytes_ = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    kept = claude("b", bytes_, temperature=0.30, odd={"x": 1})
    cut(world, [claude("a", {"type": "url", "url": LINK}), kept], "anthropic.messages", ())

    first, second = [r.body for s in world.shards for r in world.requests(s)]
    source = json.loads(first)["messages"][0]["content"][0]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": coded(PNG)}
    assert second == json.dumps(kept["params"]).encode()


def test_a_file_that_lies_with_the_vendor_stays_where_it_is(world, web):
    from batchmill.providers.gemini import PROVIDER

    files = [{"mimeType": "image/png", "fileUri": FILE}, {"fileUri": "https://youtu.be/abc"}]
    lines = [gemini(str(n), file) for n, file in enumerate(files)]
    other = gemini("c", {"mimeType": "image/png", "fileUri": LINK})
    cut(world, [*lines, other], "gemini.generate", PROVIDER.links)

    *same, fetched = [b["contents"][0]["parts"][0] for b in world.bodies()]
    assert same == [{"fileData": file} for file in files]
    assert fetched == {"inlineData": {"mimeType": "image/png", "data": coded(PNG)}}
    assert web.asked == [LINK]


def test_what_would_be_lost_on_the_way_is_named_before_anything_is_sent(world, web):
    line = claude("a", {"type": "url", "url": LINK}, odd={"x": 1})

    with pytest.raises(InvalidRow, match=r"t\.jsonl, line 1: odd: .*https://x\.test/i.*bytes"):
        cut(world, [line], "anthropic.messages", ())
    assert web.asked == []


# ---------------------------------------------------------------------------- what cannot be read


def test_links_that_lead_nowhere_are_told_together(world, web):
    lines = [chat("a", "https://x.test/no"), chat("b", LINK), chat("c", "https://x.test/nor")]

    with pytest.raises(InvalidRow, match=r"line 1: https://x.test/no: .*404.*1 more.*line 3.*skip"):
        cut(world, lines, "gemini.generate", ())


def test_or_their_rows_are_left_out(world, web):
    lines = [chat("a", "https://x.test/no"), chat("b", LINK)]

    cutting = cut(world, lines, "gemini.generate", (), skip_bad_images=True)

    assert cutting.rows == 2
    assert list(cutting.unusable) == [0]
    assert "404" in cutting.unusable[0]
    assert "inlineData" in json.dumps(world.bodies()[1])


def test_a_path_in_a_line_is_no_file_to_be_read(world, web):
    path = world.table("i.png", PNG)

    with pytest.raises(InvalidRow, match="takes no link but to S3"):
        cut(world, [chat("a", f"file://{path}")], "bedrock.converse", ())
