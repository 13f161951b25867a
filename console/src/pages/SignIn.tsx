// Signing in: by the one-time link in the address, by an API key, or not at all where the server asks for nothing.

import { Button, PasswordInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useCallback, useEffect, useState } from "react";
import { call, Problem, post, signInMethods } from "../api/client";
import { follow, type Liveness } from "../live/notices";
import { Loading, Refusal } from "../parts/Page";
import { type Identity, SessionProvider } from "../parts/session";

const CODE = "#code=";

/** The tenant that the address names: /console/t/TENANT/... */
export const tenantOf = (path: string): string => decodeURIComponent(/^\/console\/t\/([^/]+)/.exec(path)?.[1] ?? "");

/** Where the pages of a tenant begin. */
export const placeOf = (tenant: string): string => `/console/t/${encodeURIComponent(tenant)}/`;

export function SignedIn({ children }: { children: ReactNode }) {
  const [identity, setIdentity] = useState<Identity | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [out, setOut] = useState(false);
  const [liveness, setLiveness] = useState<Liveness>("connecting");
  const client = useQueryClient();

  const look = useCallback(async () => {
    try {
      setIdentity(await call("whoami", {}, { tenant: tenantOf(location.pathname) }));
      setProblem(null);
      setOut(false);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const [tenant] = (error.fault.details?.tenants as string[] | undefined) ?? [];
      if (error.code === "unauthenticated") setOut(true);
      else if (tenant)
        location.replace(placeOf(tenant)); // of several, and none is the usual one
      else if (error.code === "not_found" && tenantOf(location.pathname)) location.replace("/console/");
      else setProblem(error);
    }
  }, []);

  useEffect(() => {
    const code = location.hash.startsWith(CODE) ? location.hash.slice(CODE.length) : "";
    if (code) history.replaceState(null, "", location.pathname + location.search);
    const first = code ? post("/api/console/sign-in", { code }) : Promise.resolve(null);
    first.then(look, (error: Problem) => {
      setProblem(error);
      setOut(true);
    });
  }, [look]);

  const signedIn = identity !== null && !out;
  const tenant = identity?.tenant ?? "";
  useEffect(() => {
    if (!signedIn) return;
    const ended = new AbortController();
    const tell = (now: Liveness) => {
      setLiveness(now);
      if (now === "out") setOut(true);
    };
    follow(client, tenant, tell, ended.signal);
    return () => ended.abort();
  }, [client, tenant, signedIn]);

  if (out) return <SignIn problem={problem} ended={identity !== null} done={look} />;
  if (problem)
    return (
      <main className="sign-in">
        <Refusal problem={problem} again={look} />
      </main>
    );
  if (!identity)
    return (
      <div className="frame" aria-busy="true">
        <header className="top">
          <span className="brand">Sluice</span>
        </header>
        <nav className="rail" aria-label="Pages" />
        <main className="room">
          <Loading />
        </main>
      </div>
    );
  return <SessionProvider value={{ identity, tenant, liveness }}>{children}</SessionProvider>;
}

interface Given {
  problem: Problem | null;
  /** Somebody was signed in here. */
  ended: boolean;
  done: () => Promise<void>;
}

function SignIn({ problem, ended, done }: Given) {
  const [token, setToken] = useState("");
  const [refused, setRefused] = useState<Problem | null>(problem);
  const [busy, setBusy] = useState(false);
  const [provider, setProvider] = useState<string | null>(null);

  useEffect(() => {
    signInMethods().then(
      (found) => setProvider(found.provider),
      () => setProvider(null), // the form for a key is here all the same
    );
  }, []);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    try {
      await post("/api/console/sign-in", { token: token.trim() });
      await done();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setRefused(error);
    } finally {
      setBusy(false);
    }
  }

  return (
    <main className="sign-in">
      <h1>Sign in to Sluice</h1>
      <p>
        On the machine of the server, <code>sluice console</code> opens this page signed in. Elsewhere, paste an API key
        (<code>sluice token create</code> makes one).
      </p>
      {ended && !refused && (
        <div className="note warning" role="status">
          <p>
            Your session has ended: its key was revoked or is over, or somebody signed out. Documents that were typed
            and not saved are kept in this browser, and offered again where they were.
          </p>
        </div>
      )}
      {refused && <Refusal problem={refused} />}
      {provider && (
        <p>
          <Button
            component="a"
            href={`/api/login?to=${encodeURIComponent(location.pathname + location.search)}`}
            title={`With ${provider}`}
          >
            Sign in with {new URL(provider).host}
          </Button>
        </p>
      )}
      <form onSubmit={submit}>
        <PasswordInput
          label="API key"
          value={token}
          onChange={(event) => setToken(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        <Button type="submit" variant={provider ? "default" : "filled"} mt="sm" loading={busy} disabled={!token.trim()}>
          {provider ? "Sign in with the key" : "Sign in"}
        </Button>
      </form>
    </main>
  );
}
