// Letting a program in that shows a code: `sluice login`.

import { Button, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAct } from "../api/act";
import { call, type Result } from "../api/client";
import { Head, Refusal } from "../parts/Page";
import { useSession } from "../parts/session";

export function Device() {
  const { identity, tenant } = useSession();
  const [code, setCode] = useState(new URLSearchParams(location.search).get("code") ?? "");
  const [found, setFound] = useState<Result<"login_device_approve"> | null>(null);
  const { act, busy, problem } = useAct();
  const decide = (decision: "look" | "approve" | "deny") =>
    act(async () => setFound(await call("login_device_approve", { user_code: code, decision }, { tenant })));
  const decided = found !== null && found.decision !== "look";
  return (
    <>
      <Head title="Let a program in" />
      {problem && <Refusal problem={problem} />}
      {decided ? (
        <p role="status">
          {found.decision === "approve"
            ? `${found.name || "The program"} acts as ${identity.username} now, for up to twelve hours. You can close this page.`
            : `${found.name || "The program"} is refused.`}
        </p>
      ) : found ? (
        <>
          <p>
            <code>{found.name || "A program without a name"}</code> shows the code <code>{code}</code> and wants to act
            as <code>{identity.username}</code>, with all rights that you have here. Let it in only if you have just
            begun this yourself and it shows this very code.
          </p>
          <div className="filters">
            <Button loading={busy} onClick={() => void decide("approve")}>
              Let it in
            </Button>
            <Button variant="subtle" disabled={busy} onClick={() => void decide("deny")}>
              Refuse it
            </Button>
          </div>
        </>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void decide("look");
          }}
        >
          <TextInput
            label="The code that the program shows"
            value={code}
            onChange={(event) => setCode(event.currentTarget.value)}
            autoComplete="off"
          />
          <Button type="submit" mt="sm" loading={busy} disabled={!code.trim()}>
            Next
          </Button>
        </form>
      )}
    </>
  );
}
