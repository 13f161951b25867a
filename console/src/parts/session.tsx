// Who is signed in, in which tenant, and whether what is shown is live.

import { createContext, type ReactNode, useContext } from "react";
import type { Liveness } from "../live/notices";

export interface Identity {
  username: string;
  role: "viewer" | "user" | "operator" | "admin";
  tenant: string;
  tenants: string[];
  platform: boolean;
  scopes: string[];
}

interface Session {
  identity: Identity;
  tenant: string;
  liveness: Liveness;
}

const Here = createContext<Session | null>(null);

export function SessionProvider({ value, children }: { value: Session; children: ReactNode }) {
  return <Here.Provider value={value}>{children}</Here.Provider>;
}

export function useSession(): Session {
  const found = useContext(Here);
  if (!found) throw new Error("there is no session above this part");
  return found;
}

export const useTenant = (): string => useSession().tenant;

/** Whether one may run, cancel, reconcile, drain and pause what is there. */
export const useOperator = (): boolean => ["operator", "admin"].includes(useSession().identity.role);

export const useAdmin = (): boolean => useSession().identity.role === "admin";
