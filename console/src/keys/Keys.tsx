// The keys of the console: Ctrl+K anywhere; `g d`, `/` and `?` where nobody types, unless this browser turned them off.

import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { useKept } from "../parts/kept";
import { meant, typing } from "./keys";

const Palette = lazy(() => import("./Palette"));
const Help = lazy(() => import("./Help"));
const SEQUENCE_MS = 1000;

type Open = "palette" | "help" | null;

export function Keys({ open, setOpen }: { open: Open; setOpen: (open: Open) => void }) {
  const navigate = useNavigate();
  const [off] = useKept("keys");
  const before = useRef({ key: "", at: 0 });
  useEffect(() => {
    const hear = (event: KeyboardEvent) => {
      const within = event.timeStamp - before.current.at < SEQUENCE_MS ? before.current.key : "";
      const single = off !== "off" && !typing(document.activeElement) && !document.querySelector("[role=dialog]");
      const wanted = meant(event, within, single);
      before.current = { key: event.key, at: event.timeStamp };
      if (!wanted || wanted.do === "wait") return;
      event.preventDefault();
      if (wanted.do === "go") void navigate({ to: wanted.to });
      else if (wanted.do === "search") search(() => setOpen("palette"));
      else setOpen(wanted.do);
    };
    window.addEventListener("keydown", hear);
    return () => window.removeEventListener("keydown", hear);
  }, [off, navigate, setOpen]);
  return (
    <Suspense>
      {open === "palette" && <Palette close={() => setOpen(null)} help={() => setOpen("help")} />}
      {open === "help" && <Help close={() => setOpen(null)} />}
    </Suspense>
  );
}

/** Into the first field of the page that filters; where there is none, the search of everything. */
function search(otherwise: () => void) {
  const field = document.querySelector<HTMLInputElement>("main .filters input:not([type=checkbox]):not([readonly])");
  if (field) field.focus();
  else otherwise();
}

export function useOpen(): [Open, (open: Open) => void] {
  return useState<Open>(null);
}
