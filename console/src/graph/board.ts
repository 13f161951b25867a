// What steps are and do now, outside the picture: each label hears of its own step alone, so that figures neither lay
// out nor draw the rest anew.

import { createContext, useContext, useSyncExternalStore } from "react";
import type { StepFigures, StepState } from "./model";

export class Board {
  private states: ReadonlyMap<string, StepState> = new Map();
  private figures: ReadonlyMap<string, StepFigures> = new Map();
  private readonly heard = new Set<() => void>();

  /** Whether figures are told at all: then one that is missing is not known. */
  live = false;

  subscribe = (tell: () => void) => {
    this.heard.add(tell);
    return () => void this.heard.delete(tell);
  };

  state = (step: string): StepState | undefined => this.states.get(step);

  figuresOf = (step: string): StepFigures | undefined => this.figures.get(step);

  tell(states: ReadonlyMap<string, StepState>, figures: ReadonlyMap<string, StepFigures>): void {
    this.live = true;
    this.states = kept(this.states, states);
    this.figures = kept(this.figures, figures);
    for (const one of this.heard) one();
  }
}

/** The newer ones, and those that are as before as the same objects: whoever shows them has nothing to do. */
function kept<T>(before: ReadonlyMap<string, T>, now: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  return new Map(
    [...now].map(([key, one]) => {
      const old = before.get(key);
      return [key, old !== undefined && JSON.stringify(old) === JSON.stringify(one) ? old : one];
    }),
  );
}

const Here = createContext(new Board());

export const BoardProvider = Here.Provider;

export const useBoard = (): Board => useContext(Here);

export function useStateOf(step: string): StepState | undefined {
  const board = useBoard();
  return useSyncExternalStore(board.subscribe, () => board.state(step));
}

export function useFiguresOf(step: string): StepFigures | undefined {
  const board = useBoard();
  return useSyncExternalStore(board.subscribe, () => board.figuresOf(step));
}
