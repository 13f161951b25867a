// The form of a JSON Schema: rjsf with our fields and a validator that makes no code of a schema (the policy of the
// page forbids that, rightly).

import { Button, Checkbox, NumberInput, Select, Textarea, TextInput } from "@mantine/core";
import Form, { getDefaultRegistry } from "@rjsf/core";
import type {
  ArrayFieldItemTemplateProps,
  ArrayFieldTemplateProps,
  ErrorSchema,
  FieldProps,
  FieldTemplateProps,
  ObjectFieldTemplateProps,
  RJSFSchema,
  UiSchema,
  WidgetProps,
} from "@rjsf/utils";
import { type KeyboardEvent, useMemo, useRef, useState } from "react";
import { read } from "../words/exact";
import { validator } from "./validator";

type Params = Record<string, unknown>;

interface Given {
  schema: Params;
  value: Params;
  change: (value: Params) => void;
  faults: { pointer: string; message: string }[];
  submit: (value: Params) => void;
  disabled: boolean;
  busy: boolean;
  /** What the button says; without it there is none, and each change counts. */
  verb?: string;
  /** Without a form element: a page in a sandbox that allows none never hears of its being submitted. */
  formless?: boolean;
}

const faultsOf = (errors: string[] | undefined) => (errors?.length ? errors.join("; ") : undefined);

function Text(props: WidgetProps) {
  const common = {
    id: props.id,
    label: props.label,
    description: props.schema.description,
    required: props.required,
    disabled: props.disabled,
    error: faultsOf(props.rawErrors),
  };
  const change = (text: string) => props.onChange(text === "" ? props.options.emptyValue : text);
  if (props.schema.type === "number" || props.schema.type === "integer")
    return (
      <NumberInput
        {...common}
        value={props.value ?? ""}
        allowDecimal={props.schema.type === "number"}
        onChange={(value) => props.onChange(value === "" ? undefined : Number(value))}
      />
    );
  if ((props.schema.maxLength ?? 0) > 200 || props.schema.format === "textarea")
    return (
      <Textarea
        {...common}
        autosize
        minRows={2}
        value={props.value ?? ""}
        onChange={(event) => change(event.currentTarget.value)}
      />
    );
  return <TextInput {...common} value={props.value ?? ""} onChange={(event) => change(event.currentTarget.value)} />;
}

function Choice(props: WidgetProps) {
  const options = (props.options.enumOptions ?? []).map(({ label }, n) => ({ value: String(n), label }));
  const at = (props.options.enumOptions ?? []).findIndex(
    ({ value }) => JSON.stringify(value) === JSON.stringify(props.value),
  );
  return (
    <Select
      id={props.id}
      label={props.label}
      description={props.schema.description}
      required={props.required}
      disabled={props.disabled}
      error={faultsOf(props.rawErrors)}
      data={options}
      value={at < 0 ? null : String(at)}
      clearable={!props.required}
      onChange={(value) =>
        props.onChange(value === null ? undefined : props.options.enumOptions?.[Number(value)]?.value)
      }
    />
  );
}

function Switch(props: WidgetProps) {
  return (
    <Checkbox
      id={props.id}
      label={props.label}
      description={props.schema.description}
      disabled={props.disabled}
      error={faultsOf(props.rawErrors)}
      checked={Boolean(props.value)}
      onChange={(event) => props.onChange(event.currentTarget.checked)}
    />
  );
}

/** Widgets show their own label, text and faults; what has no widget of its own is named here. */
function Field({ children, schema, id, label, hidden, displayLabel, rawErrors }: FieldTemplateProps) {
  if (hidden) return <div hidden>{children}</div>;
  const composed = schema.type === "array" || schema.oneOf || schema.anyOf;
  return (
    <div style={{ marginBottom: 12 }}>
      {composed && displayLabel && (
        <div id={`${id}__title`}>
          <strong>{label}</strong> <span className="quiet">{schema.description}</span>
        </div>
      )}
      {children}
      {composed &&
        rawErrors?.map((one) => (
          <p key={one} className="state failed">
            {one}
          </p>
        ))}
    </div>
  );
}

function Group({ title, description, properties, fieldPathId }: ObjectFieldTemplateProps) {
  const top = fieldPathId?.$id === "root";
  return (
    <fieldset
      style={{ border: 0, margin: 0, padding: top ? 0 : "0 0 0 12px", borderLeft: top ? 0 : "2px solid var(--line)" }}
    >
      {!top && title && <legend>{title}</legend>}
      {!top && description && <p className="quiet">{description}</p>}
      {properties.map((one) => one.content)}
    </fieldset>
  );
}

/** The items of a list, each with a way out, and a way to one more. */
function List({ items, canAdd, onAddClick, disabled, title }: ArrayFieldTemplateProps) {
  return (
    <>
      {items}
      {canAdd && (
        <Button variant="light" size="compact-xs" disabled={disabled} onClick={onAddClick}>
          Add to {title}
        </Button>
      )}
    </>
  );
}

function ListItem({ children, buttonsProps, index, hasToolbar }: ArrayFieldItemTemplateProps) {
  return (
    <div style={{ display: "flex", gap: 4, alignItems: "end" }}>
      <div style={{ flex: 1 }}>{children}</div>
      {hasToolbar && buttonsProps.hasRemove && (
        <Button
          variant="subtle"
          size="compact-xs"
          mb={12}
          aria-label={`Remove item ${index + 1}`}
          disabled={buttonsProps.disabled}
          onClick={buttonsProps.onRemoveItem}
        >
          ×
        </Button>
      )}
    </div>
  );
}

const { ObjectField } = getDefaultRegistry().fields;
const FORMED = ["properties", "additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if"];

/** An object whose schema names nothing within it has no form: it is typed as JSON. */
function Anything(props: FieldProps) {
  const [typed, setTyped] = useState<string | null>(null);
  if (!ObjectField || FORMED.some((key) => props.schema[key as keyof RJSFSchema]))
    return ObjectField ? <ObjectField {...props} /> : null;
  const kept = props.formData === undefined ? "" : JSON.stringify(props.formData, null, 2);
  const text = typed ?? (kept === "{}" ? "" : kept);
  const faults = (props.rawErrors ?? []).filter((one) => !one.startsWith("Instance type"));
  const broken = typeof props.formData === "string" && "is not JSON";
  return (
    <Textarea
      id={props.fieldPathId.$id}
      label={props.schema.title ?? props.name}
      description={props.schema.description ?? "JSON"}
      required={props.required ?? false}
      disabled={props.disabled ?? false}
      error={broken || faultsOf(faults)}
      autosize
      minRows={3}
      value={text}
      onChange={(event) => {
        const wanted = event.currentTarget.value;
        setTyped(wanted);
        props.onChange(parsed(wanted), props.fieldPathId.path);
      }}
    />
  );
}

/** What a text says as JSON; a text that says nothing stays itself, which is no object, so that nothing is sent. */
function parsed(text: string): unknown {
  if (!text.trim()) return undefined;
  try {
    return read(text);
  } catch {
    return text;
  }
}

const widgets = {
  TextWidget: Text,
  TextareaWidget: Text,
  PasswordWidget: Text,
  EmailWidget: Text,
  URLWidget: Text,
  DateWidget: Text,
  DateTimeWidget: Text,
  TimeWidget: Text,
  UpDownWidget: Text,
  RangeWidget: Text,
  SelectWidget: Choice,
  RadioWidget: Choice,
  CheckboxWidget: Switch,
};

const fields = { ObjectField: Anything };
const TEMPLATES = {
  FieldTemplate: Field,
  ObjectFieldTemplate: Group,
  ArrayFieldTemplate: List,
  ArrayFieldItemTemplate: ListItem,
};

/** What the server says of single values, at their places. */
function placed(faults: Given["faults"]): ErrorSchema {
  const root: Record<string, unknown> = {};
  for (const { pointer, message } of faults) {
    let at = root;
    for (const part of pointer.split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (key === "params" && at === root) continue;
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    at.__errors = [...((at.__errors as string[] | undefined) ?? []), message];
  }
  return root as ErrorSchema;
}

export default function ParameterForm(given: Given) {
  const { schema, value, change, faults, submit, disabled, busy, verb, formless } = given;
  const form = useRef<Form>(null);
  const [refused, setRefused] = useState(false); // from then on its faults go, and come, as one types
  const run = () => form.current?.validateForm() && submit(value);
  const entered = (event: KeyboardEvent) => event.key === "Enter" && event.target instanceof HTMLInputElement && run();
  const uiSchema = useMemo<UiSchema>(() => ({ "ui:submitButtonOptions": { norender: true } }), []);
  const extra = useMemo(() => placed(faults), [faults]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Enter does what it does in a form
    <div style={{ maxWidth: 560 }} onKeyDown={formless ? entered : undefined}>
      <Form
        ref={form}
        tagName={formless ? "div" : "form"}
        schema={schema as RJSFSchema}
        uiSchema={uiSchema}
        validator={validator}
        formData={value}
        onChange={({ formData }) => change((formData ?? {}) as Params)}
        onSubmit={({ formData }) => submit((formData ?? {}) as Params)}
        onError={() => setRefused(true)} // they stand at their fields
        {...(refused ? { liveValidate: "onChange" as const } : {})}
        extraErrors={extra}
        extraErrorsBlockSubmit={false}
        showErrorList={false}
        noHtml5Validate
        disabled={disabled}
        widgets={widgets}
        fields={fields}
        templates={TEMPLATES}
      >
        {verb ? (
          <Button
            type={formless ? "button" : "submit"}
            loading={busy}
            disabled={disabled}
            onClick={formless ? run : undefined}
          >
            {verb}
          </Button>
        ) : (
          <span />
        )}
      </Form>
    </div>
  );
}
