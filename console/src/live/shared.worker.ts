// One stream for all the tabs of a browser that look at the same tenant.

import { type Liveness, listen, type Word } from "./stream";

interface Room {
  ports: Set<MessagePort>;
  now: Liveness;
  ended: AbortController;
}

const rooms = new Map<string, Room>();

function open(tenant: string): Room {
  const room: Room = { ports: new Set(), now: "connecting", ended: new AbortController() };
  rooms.set(tenant, room);
  const tell = (word: Word) => {
    if ("now" in word) room.now = word.now;
    for (const port of room.ports) port.postMessage(word);
    if (room.now === "out" && rooms.get(tenant) === room) rooms.delete(tenant); // who signs in again opens another one
  };
  void listen(tenant, tell, room.ended.signal);
  return room;
}

function leave(port: MessagePort): void {
  for (const [tenant, { ports, ended }] of rooms)
    if (ports.delete(port) && !ports.size) {
      ended.abort();
      rooms.delete(tenant);
    }
}

function join(port: MessagePort, tenant: string): void {
  leave(port);
  const room = rooms.get(tenant) ?? open(tenant);
  room.ports.add(port);
  port.postMessage({ now: room.now } satisfies Word);
}

self.addEventListener("connect", (event) => {
  for (const port of (event as MessageEvent).ports) {
    port.addEventListener("message", ({ data }: MessageEvent<{ join?: string }>) =>
      data.join === undefined ? leave(port) : join(port, data.join),
    );
    port.start();
  }
});
