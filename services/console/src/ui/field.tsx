import { type ComponentPropsWithRef, type ReactNode, type SelectHTMLAttributes, useId } from "react";

interface FieldProps {
  label: string;
  hint?: ReactNode;
  error?: string | undefined;
  /** Whether the label is for screen readers alone. */
  isBare?: boolean;
}

type Common = FieldProps & { children(ids: { id: string; describedBy: string | undefined }): ReactNode };

function Field({ label, hint, error, isBare = false, children }: Common) {
  const id = useId();
  const note = error ?? hint;
  return (
    <div className="field">
      <label htmlFor={id} className={isBare ? "unseen" : ""}>
        {label}
      </label>
      {children({ id, describedBy: note === undefined ? undefined : `${id}-note` })}
      {note !== undefined && (
        <p id={`${id}-note`} className={error === undefined ? "hint" : "hint wrong"}>
          {note}
        </p>
      )}
    </div>
  );
}

export function Input({
  label,
  hint,
  error,
  isBare,
  className = "",
  ...rest
}: FieldProps & ComponentPropsWithRef<"input">) {
  return (
    <Field label={label} hint={hint} error={error} isBare={isBare ?? false}>
      {({ id, describedBy }) => (
        <input
          id={id}
          aria-describedby={describedBy}
          aria-invalid={error === undefined ? undefined : true}
          className={`input ${className}`}
          autoComplete="off"
          spellCheck={false}
          {...rest}
        />
      )}
    </Field>
  );
}

interface SelectProps<T extends string>
  extends FieldProps,
    Omit<SelectHTMLAttributes<HTMLSelectElement>, "onChange" | "value"> {
  value: T;
  options: readonly { value: T; label: string; group?: string }[];
  onChange(value: T): void;
}

export function Select<T extends string>({
  label,
  hint,
  error,
  isBare,
  value,
  options,
  onChange,
  ...rest
}: SelectProps<T>) {
  const groups = [...new Set(options.map((option) => option.group ?? ""))];
  const shown = (group: string) =>
    options
      .filter((option) => (option.group ?? "") === group)
      .map((option) => (
        <option key={option.value} value={option.value}>
          {option.label}
        </option>
      ));
  return (
    <Field label={label} hint={hint} error={error} isBare={isBare ?? false}>
      {({ id, describedBy }) => (
        <select
          id={id}
          aria-describedby={describedBy}
          className="input select"
          value={value}
          onChange={(event) => {
            const chosen = options.find((option) => option.value === event.target.value);
            if (chosen !== undefined) onChange(chosen.value);
          }}
          {...rest}
        >
          {groups.map((group) =>
            group === "" ? (
              shown(group)
            ) : (
              <optgroup key={group} label={group}>
                {shown(group)}
              </optgroup>
            ),
          )}
        </select>
      )}
    </Field>
  );
}
