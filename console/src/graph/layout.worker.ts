import { type Ask, place } from "./layout";

self.onmessage = ({ data }: MessageEvent<{ id: number; ask: Ask }>) => {
  self.postMessage({ id: data.id, places: place(data.ask) });
};
