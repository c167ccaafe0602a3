import { type Choice, Combobox } from "./combobox";

interface Props {
  /** Of the field that adds one. */
  label: string;
  values: readonly string[];
  choices: readonly Choice[];
  placeholder: string;
  isFree?: boolean;
  /** What their crosses are called. */
  removing?: string;
  onChange(values: readonly string[]): void;
}

/** Any number of values, each with a cross, and a field that adds one. */
export function Chips({ label, values, choices, placeholder, isFree = false, removing = "Remove", onChange }: Props) {
  return (
    <div className="chips">
      {values.map((value) => (
        <span key={value} className="chip">
          {value}
          <button
            type="button"
            aria-label={`${removing} ${value}`}
            onClick={() => onChange(values.filter((other) => other !== value))}
          >
            ×
          </button>
        </span>
      ))}
      <Combobox
        label={label}
        value=""
        choices={choices.filter(({ value }) => !values.includes(value))}
        placeholder={placeholder}
        isFree={isFree}
        onChange={(value) => value !== "" && onChange([...new Set([...values, value])])}
      />
    </div>
  );
}
