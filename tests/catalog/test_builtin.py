"""What comes with Sluice is read in its parsed form, and as it is written when that form is not of these files."""

from __future__ import annotations

import pytest

from core import documents
from core.catalog import builtin


def test_the_parsed_form_says_what_the_files_say(monkeypatch: pytest.MonkeyPatch) -> None:
    written = [document.data for document in builtin._read(builtin._texts())]
    monkeypatch.setattr(documents, "load", lambda *_, **__: pytest.fail("the files were parsed again"))
    assert [document.data for document in builtin._documents()] == written
    assert len(written) > 50


def test_files_that_the_parsed_form_was_not_made_of_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = builtin._texts()
    name = min(texts)
    monkeypatch.setattr(builtin, "_texts", lambda: {name: texts[name].replace(b"title: ", b"title: New ", 1)})
    titles = [document.data.get("title", "") for document in builtin._documents()]
    assert titles[0].startswith("New ")
