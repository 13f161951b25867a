"""Writing workflows in the browser: from a text with a fault to a version, and two people at one draft."""

from __future__ import annotations

import re
from typing import Any

from tests.console.served import Served, Visitor

GREETINGS = """# Greetings, for whoever looks.
kind: workflow
slug: {slug}
title: Greetings of {slug}
wizard:
  - {{field: word, title: The greeting, default: hello}} # said each second
steps:
  - id: greet # first
    use: blueprint:echo-source@1.0.0
    with: {{event: '{{"say": "{{{{wizard.word}}}}"}}', interval: 1s}}
    out: channel:greetings
  - id: print
    use: blueprint:file-printer@1.0.0
    in: channel:greetings
"""

PASTE = """(element, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    element.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
}"""


def text_of(slug: str) -> str:
    return GREETINGS.format(slug=slug)


def editor(visitor: Visitor) -> Any:
    """The text; what is typed goes where the cursor is."""
    return visitor.page.get_by_label("Document as YAML")


def shown(visitor: Visitor) -> str:
    lines = editor(visitor).locator(".cm-line").all_inner_texts()
    return "\n".join(line.replace("\u200b", "") for line in lines)


def write(visitor: Visitor, text: str) -> None:
    """Put a text in place of what is there, as a paste does."""
    editor(visitor).click()
    visitor.page.keyboard.press("Control+a")
    editor(visitor).evaluate(PASTE, text)


def test_a_workflow_is_written_mended_saved_published_and_offered_for_deployment(
    visitor: Visitor, served: Served
) -> None:
    page = visitor.page
    visitor.go("")
    visitor.press("Workflows", "link")
    visitor.press("New workflow", "link")
    write(visitor, text_of("written").replace("echo-source@1.0.0", "echo-sauce@1.0.0"))
    page.get_by_role("list", name="Faults").get_by_role("button", name="echo-sauce").first.click()
    assert "echo-sauce" in page.locator(".cm-activeLine").inner_text()
    page.get_by_role("region", name="Step greet").wait_for()
    visitor.press("Save draft")  # faults and all
    page.wait_for_url("**/workflows/workflow/written/edit")
    visitor.sees("saved as revision 1")
    assert page.get_by_role("button", name="Publish").is_disabled()

    write(visitor, text_of("written"))
    visitor.sees("valid", within="header.head")
    page.keyboard.press("Control+s")
    visitor.sees("saved as revision 2")
    assert served.call("workflow_get", slug="written", version="draft", detail="detailed")["text"] == text_of("written")
    visitor.press("Publish")
    visitor.sees("Version 1 is published.")
    visitor.press("Deploy it", "link")
    visitor.sees("Nothing changes until the plan is applied.")

    visitor.go("workflows/workflow/written")
    visitor.press("New version")
    visitor.press("Make the draft")
    page.wait_for_url("**/written/edit")
    write(visitor, text_of("written").replace("default: hello", "default: good day"))
    page.keyboard.press("Control+s")
    visitor.sees(re.compile(r"saved as revision \d"))
    visitor.press("Versions", "link")
    visitor.press("with 1", "link")
    page.locator(".after", has_text="good day").wait_for()
    page.locator(".cm-changedLine", has_text="good day").first.wait_for()


def test_two_who_edit_one_draft_see_each_other_and_lose_nothing(visitor: Visitor, served: Served) -> None:
    served.call("workflow_save_draft", document=text_of("shared"))
    visitor.go("workflows/workflow/shared/edit")
    visitor.sees("saved as revision 1")
    write(visitor, text_of("shared").replace("interval: 1s", "interval: 2s"))
    visitor.sees("not saved")
    other = text_of("shared").replace("default: hello", "default: hi")
    served.call("workflow_save_draft", document=other, base_revision=1)
    visitor.sees(re.compile("saved revision 2 since you began with revision 1"))
    visitor.press("Look at both")
    visitor.page.get_by_role("button", name="Take this part from the left").first.click()
    visitor.press("Go on with the text on the right")
    assert "interval: 2s" in shown(visitor) and "default: hi" in shown(visitor)
    visitor.press("Save draft")
    visitor.sees("saved as revision 3")
    saved = served.call("workflow_get", slug="shared", version="draft", detail="detailed")["text"]
    assert "interval: 2s" in saved and "default: hi" in saved and "# said each second" in saved


def test_what_was_typed_outlives_the_page(visitor: Visitor, served: Served) -> None:
    served.call("workflow_save_draft", document=text_of("kept"))
    visitor.go("workflows/workflow/kept/edit")
    visitor.sees("saved as revision 1")
    write(visitor, text_of("kept").replace("hello", "typed before the crash"))
    visitor.sees("not saved")
    visitor.page.reload()
    visitor.press("Go on with it")
    assert "typed before the crash" in shown(visitor)
    visitor.press("Save draft")
    visitor.sees("saved as revision 2")
    visitor.page.reload()
    visitor.sees("saved as revision 2")
    assert visitor.page.get_by_role("button", name="Go on with it").count() == 0


def test_a_step_is_added_connected_and_saved_by_keys_alone(visitor: Visitor, served: Served) -> None:
    served.call("workflow_save_draft", document=text_of("keys"))
    page, keys = visitor.page, visitor.page.keyboard
    visitor.go("workflows/workflow/keys/edit")
    visitor.sees("saved as revision 1")
    page.locator(".canvas .node", has_text="print").wait_for()
    page.get_by_role("button", name="Undo").focus()
    keys.press("n")  # to the palette
    keys.type("remove fields")
    keys.press("Enter")
    page.locator(".canvas .node", has_text="field-remover").first.wait_for()
    page.get_by_label("Step field-remover, blueprint").focus()
    keys.press("Enter")
    reads = page.get_by_label("Reads from").first
    reads.focus()
    keys.press("Control+a")
    keys.type("greetings")
    keys.press("ArrowDown")
    keys.press("Enter")
    page.get_by_label("greetings from greet to field-remover").wait_for()
    page.get_by_label("fields-1").focus()
    keys.type("secret")
    page.get_by_label("Id", exact=True).focus()
    keys.press("Control+a")
    keys.type("clean")
    keys.press("Enter")
    page.locator(".canvas .node", has_text="clean").wait_for()
    editor(visitor).focus()
    keys.press("Control+s")
    visitor.sees("saved as revision 2")
    saved = served.call("workflow_get", slug="keys", version="draft", detail="detailed")
    assert "# said each second" in saved["text"] and "- id: greet # first" in saved["text"]
    assert saved["document"]["steps"][-1] == {
        "id": "clean",
        "use": "blueprint:field-remover@1.0.0",
        "with": {"fields": ["secret"]},
        "in": "channel:greetings",
    }
    for _ in range(20):  # one history for the picture and the text
        keys.press("Control+z")
    assert shown(visitor).strip() == text_of("keys").strip()
