// The fields of a form as plain HTML, in the place of Mantine's where a page has to be small and its styles are fixed by
// their hash (vite.config.ts): what ParameterForm uses of them, under the same names.

import type { ChangeEventHandler, ReactNode } from "react";

interface Common {
  id?: string;
  label?: ReactNode;
  description?: ReactNode;
  error?: ReactNode;
  required?: boolean;
  disabled?: boolean;
}

function Labelled({ id, label, description, error, required, children }: Common & { children: ReactNode }) {
  return (
    <div className="field">
      <label htmlFor={id}>
        {label}
        {required && " *"}
      </label>
      {children}
      <span id={`${id}-note`} className="quiet">
        {description}
      </span>{" "}
      <span className="fault">{error}</span>
    </div>
  );
}

type TextGiven = Common & { value: string; onChange: ChangeEventHandler<HTMLInputElement> };

export function TextInput({ value, onChange, ...rest }: TextGiven) {
  return (
    <Labelled {...rest}>
      <input
        id={rest.id}
        aria-describedby={`${rest.id}-note`}
        type="text"
        disabled={rest.disabled}
        value={value}
        onChange={onChange}
      />
    </Labelled>
  );
}

type AreaGiven = Common & {
  value: string;
  onChange: ChangeEventHandler<HTMLTextAreaElement>;
  autosize?: boolean;
  minRows?: number;
};

export function Textarea({ value, onChange, minRows, autosize: _, ...rest }: AreaGiven) {
  return (
    <Labelled {...rest}>
      <textarea
        id={rest.id}
        aria-describedby={`${rest.id}-note`}
        rows={minRows ?? 3}
        disabled={rest.disabled}
        value={value}
        onChange={onChange}
      />
    </Labelled>
  );
}

type NumberGiven = Common & {
  value: number | string;
  onChange: (value: number | string) => void;
  allowDecimal?: boolean;
};

export function NumberInput({ value, onChange, allowDecimal, ...rest }: NumberGiven) {
  return (
    <Labelled {...rest}>
      <input
        id={rest.id}
        aria-describedby={`${rest.id}-note`}
        type="number"
        step={allowDecimal ? "any" : 1}
        disabled={rest.disabled}
        value={value}
        onChange={(event) => onChange(event.currentTarget.value === "" ? "" : Number(event.currentTarget.value))}
      />
    </Labelled>
  );
}

type SelectGiven = Common & {
  value: string | null;
  data: { value: string; label: string }[];
  clearable?: boolean;
  onChange: (value: string | null) => void;
};

export function Select({ value, data, clearable, onChange, ...rest }: SelectGiven) {
  return (
    <Labelled {...rest}>
      <select
        id={rest.id}
        aria-describedby={`${rest.id}-note`}
        disabled={rest.disabled}
        value={value ?? ""}
        onChange={(event) => onChange(event.currentTarget.value || null)}
      >
        {(clearable || value === null) && <option value="" />}
        {data.map((one) => (
          <option key={one.value} value={one.value}>
            {one.label}
          </option>
        ))}
      </select>
    </Labelled>
  );
}

type CheckGiven = Common & { checked: boolean; onChange: ChangeEventHandler<HTMLInputElement> };

export function Checkbox({ checked, onChange, ...rest }: CheckGiven) {
  return (
    <Labelled {...rest}>
      <input
        id={rest.id}
        aria-describedby={`${rest.id}-note`}
        type="checkbox"
        disabled={rest.disabled}
        checked={checked}
        onChange={onChange}
      />
    </Labelled>
  );
}

interface ButtonGiven {
  type?: "button" | "submit";
  loading?: boolean;
  disabled?: boolean;
  onClick?: () => void;
  children: ReactNode;
}

export function Button({ type = "button", loading, disabled, onClick, children }: ButtonGiven) {
  return (
    <button type={type} disabled={disabled || loading} onClick={onClick}>
      {children}
    </button>
  );
}
