"""A console that is used with the keyboard alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST = 120  # stops on a page
NAME = """() => {
  const at = document.activeElement;
  const labels = [...(at.labels ?? [])].map((one) => one.textContent);
  return [at.getAttribute("aria-label"), ...labels, at.textContent].filter(Boolean).join(" ").trim();
}"""


@dataclass(frozen=True)
class Keys:
    """Goes from stop to stop, as somebody does who sees the focus and has no mouse."""

    page: Any

    def reach(self, name: str, key: str = "Tab") -> None:
        """Press Tab until what has the focus begins with this name."""
        seen: list[str] = []
        for _ in range(MOST):
            self.page.keyboard.press(key)
            seen.append(str(self.page.evaluate(NAME)))
            if seen[-1].startswith(name):
                return
        raise AssertionError(f"{name} is not among {seen}")

    def press(self, name: str) -> None:
        self.reach(name)
        self.page.keyboard.press("Enter")

    def fill(self, name: str, text: str) -> None:
        self.reach(name)
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.type(text)
