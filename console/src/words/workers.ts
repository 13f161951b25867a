// How a worker is, in the words of every page.

interface Worker {
  state: string;
  drained: boolean;
  jobs: number;
}

/** What it is told to give away is draining as long as it has some of it. */
export const workerWord = ({ state, drained, jobs }: Worker): string =>
  drained && (state === "online" || state === "draining") ? (jobs > 0 ? "draining" : "drained") : state;
