// What every page has: its name, how it is, what can be done; and its drawn states (loading, refused, empty).

import { Button } from "@mantine/core";
import { type ReactNode, useRef } from "react";
import type { Problem } from "../api/client";
import { useSession } from "./session";

interface Heading {
  title: ReactNode;
  state?: ReactNode;
  actions?: ReactNode;
}

export function Head({ title, state, actions }: Heading) {
  return (
    <header className="head">
      <h1>{title}</h1>
      {state}
      {actions && <div className="actions">{actions}</div>}
    </header>
  );
}

export function Facts({ items }: { items: [string, ReactNode][] }) {
  const shown = items.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return (
    <dl className="facts">
      {shown.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="section">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

interface Answer<T> {
  data: T | undefined;
  error: Problem | null;
  /** How often it was refused; 0 for the read of another thing. */
  errorUpdateCount: number;
  refetch: () => unknown;
}

/** What came of a read: its answer, or how it stands with it. A refusal does not hide an answer that was there, and
 * stays until there is another one: a query that is asked anew forgets its error while it is under way. */
export function Read<T>({ of, children }: { of: Answer<T>; children: (data: T) => ReactNode }) {
  const refused = useRef<Problem>(null);
  if (of.error) refused.current = of.error;
  if (of.data !== undefined)
    return (
      <>
        {of.error && <Refusal problem={of.error} again={of.refetch} />}
        {children(of.data)}
      </>
    );
  if (of.errorUpdateCount && refused.current) return <Refusal problem={refused.current} again={of.refetch} />;
  return <Loading />;
}

export function Loading() {
  return (
    <div role="status" aria-label="Loading">
      <div className="skeleton" style={{ width: "60%" }} />
      <div className="skeleton" style={{ width: "80%" }} />
      <div className="skeleton" style={{ width: "40%" }} />
    </div>
  );
}

export function Refusal({ problem, again }: { problem: Problem; again?: () => unknown }) {
  const { detail, hint, errors, code } = problem.fault;
  return (
    <div className="note failed" role="alert">
      <p>{detail}</p>
      {errors.map((one) => (
        <p key={one.pointer + one.message}>
          <code>{one.where ?? (one.pointer || "/")}</code> {one.message}
        </p>
      ))}
      {hint && <p>{hint}</p>}
      <p className="quiet">
        <code>{code}</code>{" "}
        {again && (
          <Button variant="subtle" onClick={() => void again()}>
            Try again
          </Button>
        )}
      </p>
    </div>
  );
}

export function Empty({ children, command }: { children: ReactNode; command?: string }) {
  return (
    <div className="note">
      <p>{children}</p>
      {command && (
        <p>
          <code>{command}</code>
        </p>
      )}
    </div>
  );
}

/** What a session may not do is not offered, and why is said. */
export function ForAdmins({ children, what }: { children: ReactNode; what: string }) {
  const { identity } = useSession();
  return identity.role === "admin" ? (
    children
  ) : (
    <p className="quiet">
      {what} is for admins
      <AsWhom />
    </p>
  );
}

/** The end of a sentence about what one may not do. */
export function AsWhom() {
  const { role } = useSession().identity;
  return `; you are signed in as ${role === "operator" ? "an" : "a"} ${role}.`;
}
