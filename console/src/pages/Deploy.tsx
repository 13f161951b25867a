// Make a deployment of an item, or change one: its name, worker group and values; then the plan, and nothing yet.

import { Button, Checkbox, NumberInput, Select, TextInput } from "@mantine/core";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { ForAdmins, Head, Loading, Read, Refusal } from "../parts/Page";
import { useTenant } from "../parts/session";
import type { ItemKind } from "./planning";

export type Field = Schemas["WizardField"];

type Source = Schemas["Workflow"];

type Present = Schemas["Deployment"];

interface Wanted {
  /** The deployment that is changed; none: a new one is made. */
  name?: string;
  /** A plan whose values the form begins with. */
  plan?: string;
  afresh?: boolean;
}

const NUMBERS = new Set(["integer", "number"]);

export function Deploy() {
  const { kind, slug } = useParams({ strict: false }) as { kind: ItemKind; slug: string };
  const { name, plan, afresh = false } = useSearch({ strict: false }) as Wanted;
  const source = useRead("workflow_get", { slug, type: kind });
  const planned = useRead("plan_get", { plan_id: plan ?? "" }, { enabled: !!plan });
  const present = useRead("deployment_get", { name: name ?? "", detail: "detailed" }, { enabled: !!name });
  return (
    <ForAdmins what="Planning">
      <Read of={source}>
        {(item) =>
          plan && planned.data?.plan_id !== plan ? (
            <Read of={planned}>{() => <Loading />}</Read>
          ) : name ? (
            <Read of={present}>
              {(now) => (
                <Form key={plan} item={item} name={name} present={now} planned={planned.data} recompute={afresh} />
              )}
            </Read>
          ) : (
            <Form key={plan} item={item} planned={planned.data} />
          )
        }
      </Read>
    </ForAdmins>
  );
}

/** The text of a value in a field. */
export const shownOf = (value: unknown): string =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

/** The value that was typed; undefined when nothing was. */
export function typedOf(field: Field, typed: string): unknown {
  if (typed === "") return undefined;
  if (NUMBERS.has(field.type)) return Number(typed);
  if (field.type === "boolean") return typed === "true";
  return typed;
}

interface FormGiven {
  item: Source;
  name?: string;
  present?: Present;
  planned?: Schemas["SavedPlan"] | undefined;
  recompute?: boolean;
}

function Form({ item, name, present, planned, recompute = false }: FormGiven) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const groups = useList("worker_group_list", {});
  const [called, setCalled] = useState(name ?? planned?.name ?? item.slug);
  const first = planned?.asked ?? present;
  const [group, setGroup] = useState(first?.worker_group ?? "");
  const [typed, setTyped] = useState<Record<string, string>>(() =>
    Object.fromEntries(item.wizard.map((one) => [one.field, shownOf(first?.values[one.field] ?? one.default)])),
  );
  const [afresh, setAfresh] = useState(recompute);
  const [faults, setFaults] = useState<Record<string, string>>({}); // by their place in what is sent
  const { act, busy, problem } = useAct();
  const [touched, setTouched] = useState(false);
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => touched && event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [touched]);

  async function plan(event: FormEvent) {
    event.preventDefault();
    const values: Record<string, unknown> = {};
    const found: Record<string, string> = {};
    for (const field of item.wizard) {
      const value = typedOf(field, typed[field.field] ?? "");
      if (value === undefined && field.required) found[`/values/${field.field}`] = "is required";
      else if (value !== undefined) values[field.field] = value;
    }
    if (!called) found["/name"] = "is required";
    setFaults(found);
    if (Object.keys(found).length) return;
    const wanted = {
      name: called,
      source: `${item.type}:${item.slug}@${item.version}`,
      values,
      ...(group ? { worker_group: group } : {}),
      ...(afresh ? { recompute_placement: true } : {}),
    };
    await act(
      async () => {
        const made = await call("deployment_plan", wanted, { tenant });
        setTouched(false);
        const again = { ...(name ? { name } : {}), plan: made.plan_id };
        await navigate({ search: again as never, replace: true }); // who comes back finds what was typed
        await navigate({ to: "/plans/$id", params: { id: made.plan_id ?? "" } });
      },
      ({ fault }) =>
        setFaults(
          Object.fromEntries(
            fault.errors.map((one) => [/^\/(values\/)?[^/]+/.exec(one.pointer)?.[0] ?? "", one.message]),
          ),
        ),
    );
  }

  const touch = (place: string) => {
    setTouched(true);
    setFaults(({ [place]: _, ...others }) => others);
  };
  const set = (field: string, value: string) => {
    touch(`/values/${field}`);
    setTyped({ ...typed, [field]: value });
  };
  return (
    <>
      <Head
        title={
          name ? (
            <>
              Plan a change of <code>{name}</code>
            </>
          ) : (
            `Deploy ${item.title}`
          )
        }
      />
      {problem && <Refusal problem={problem} />}
      <form onSubmit={plan} noValidate style={{ maxWidth: 560, display: "grid", gap: 12 }}>
        <TextInput
          label="Name"
          description="Of the deployment: lower-case letters, digits, - and _."
          required
          disabled={!!name}
          value={called}
          error={faults["/name"]}
          onChange={(event) => {
            touch("/name");
            setCalled(event.currentTarget.value);
          }}
        />
        <Select
          label="Worker group"
          placeholder="default"
          data={groups.rows.map((one) => one.name)}
          value={group || null}
          clearable
          error={faults["/worker_group"]}
          onChange={(value) => {
            touch("/worker_group");
            setGroup(value ?? "");
          }}
        />
        {item.wizard.map((field) => (
          <Answer
            key={field.field}
            field={field}
            value={typed[field.field] ?? ""}
            fault={faults[`/values/${field.field}`]}
            set={(value) => set(field.field, value)}
          />
        ))}
        {name && (
          <Checkbox
            label="Recompute placement for this plan"
            description="Workloads stay where they are unless this says to place all of them afresh."
            checked={afresh}
            onChange={(event) => setAfresh(event.currentTarget.checked)}
          />
        )}
        <div className="filters">
          <Button type="submit" loading={busy}>
            Plan
          </Button>
          <Button
            variant="subtle"
            component={Link}
            to={name ? `/deployments/${name}` : `/catalog/${item.type}/${item.slug}`}
          >
            Cancel
          </Button>
          <span className="quiet">Nothing changes until the plan is applied.</span>
        </div>
      </form>
    </>
  );
}

interface Asked {
  field: Field;
  value: string;
  fault: string | undefined;
  set: (value: string) => void;
}

function Answer({ field, value, fault, set }: Asked) {
  const common = {
    label: field.title || field.field,
    description: field.description,
    required: field.required,
    error: fault,
  };
  if (field.choices.length || field.type === "boolean") {
    const choices = field.choices.length ? field.choices.map(shownOf) : ["true", "false"];
    return (
      <Select
        {...common}
        data={choices}
        value={value || null}
        clearable={!field.required}
        onChange={(one) => set(one ?? "")}
      />
    );
  }
  if (NUMBERS.has(field.type))
    return (
      <NumberInput
        {...common}
        value={value}
        onChange={(one) => set(String(one))}
        allowDecimal={field.type === "number"}
      />
    );
  return <TextInput {...common} value={value} onChange={(event) => set(event.currentTarget.value)} />;
}
