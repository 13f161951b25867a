// Who is signed in, in which tenant, and whether what is shown is live.

import { createContext, type ReactNode, useContext } from "react";
import type { Liveness } from "../live/notices";

export interface Identity {
  username: string;
  role: "admin" | "user";
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

export const useAdmin = (): boolean => useSession().identity.role === "admin";
