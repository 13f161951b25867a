// A copy of what is typed, for a crash: written shortly after each key and when the page goes, gone when it is saved,
// and offered on return. Nothing is typed over it before somebody has decided.

import { Button } from "@mantine/core";
import { useCallback, useEffect, useRef, useState } from "react";
import { full } from "../words/times";
import { type Copy, find, forget, keep } from "./copies";

const KEEP_MS = 400;

interface Typed {
  text: string;
  /** What is saved. */
  saved: string;
  /** The revision that the edit started from. */
  base: number;
}

export interface Kept {
  /** What is kept from before, until it is decided on. */
  offer: Copy | null;
  /** Forget the copy. */
  settle: () => void;
  /** Whether the browser has room for a copy. */
  room: boolean;
}

export function useCopy(name: string, { text, saved, base }: Typed): Kept {
  const [offer, setOffer] = useState<Copy | null>(() => find(name, saved));
  const [room, setRoom] = useState(true);
  const dirty = text !== saved;
  const now = useRef({ name, text, base, dirty, offer });
  now.current = { name, text, base, dirty, offer };
  const write = useCallback(() => {
    const { name, text, base, dirty, offer } = now.current;
    if (offer) return; // what is kept is not decided on yet
    if (dirty) setRoom(keep(name, { text, base, at: new Date().toISOString() }));
    else forget(name);
  }, []);
  useEffect(() => {
    const wait = setTimeout(write, text && dirty ? KEEP_MS : 0);
    return () => clearTimeout(wait);
  }, [text, dirty, write]);
  useEffect(() => {
    window.addEventListener("pagehide", write);
    return () => {
      window.removeEventListener("pagehide", write);
      write();
    };
  }, [write]);
  const settle = useCallback(() => {
    forget(name);
    setOffer(null);
  }, [name]);
  return { offer, settle, room };
}

interface Offered {
  kept: Kept;
  base: number;
  take: (copy: Copy) => void;
}

/** What is there to decide on, and what cannot be kept. */
export function CopyNotes({ kept: { offer, settle, room }, base, take }: Offered) {
  return (
    <>
      {offer && (
        <div className="note warning" role="alert">
          <p>
            This browser has a text from {full(offer.at)} that was not saved
            {offer.base !== base ? `; it began with revision ${offer.base}` : ""}. Choose first: until then nothing can
            be typed or saved here.
          </p>
          <div className="filters">
            <Button
              onClick={() => {
                take(offer);
                settle();
              }}
            >
              Go on with it
            </Button>
            <Button variant="subtle" onClick={settle}>
              Throw it away
            </Button>
          </div>
        </div>
      )}
      {!room && (
        <div className="note warning">
          This browser has no room for a copy of what you type; save before you leave this page.
        </div>
      )}
    </>
  );
}
