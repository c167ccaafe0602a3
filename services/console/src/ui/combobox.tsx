import { type KeyboardEvent, useId, useState } from "react";

export interface Choice {
  readonly value: string;
  /** What stands beside it, as its type. */
  readonly note?: string;
}

interface Props {
  label: string;
  value: string;
  choices: readonly Choice[];
  placeholder?: string;
  /** Whether text that is no choice may be given. */
  isFree?: boolean;
  className?: string;
  onChange(value: string): void;
  onFocus?(): void;
}

const MOST = 80;

/** A text field with choices below it, by the combobox pattern of ARIA 1.2. */
export function Combobox({
  label,
  value,
  choices,
  placeholder,
  isFree = false,
  className = "",
  onChange,
  onFocus,
}: Props) {
  const id = useId();
  const [draft, setDraft] = useState<string>();
  const [at, setAt] = useState(-1);
  const wanted = (draft ?? "").toLowerCase();
  const matching = choices.filter((choice) => choice.value.toLowerCase().includes(wanted)).slice(0, MOST);
  const isOpen = draft !== undefined && matching.length > 0;

  const close = () => {
    setDraft(undefined);
    setAt(-1);
  };
  const take = (text: string) => {
    close();
    const known =
      choices.find((choice) => choice.value === text) ??
      choices.find((choice) => choice.value.toLowerCase() === text.toLowerCase());
    const taken = known?.value ?? (isFree ? text : value);
    if (taken !== value) onChange(taken);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (draft === undefined) return setDraft("");
      const step = event.key === "ArrowDown" ? 1 : -1;
      setAt((before) => (matching.length === 0 ? -1 : (before + step + matching.length) % matching.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(matching[at]?.value ?? (isFree || draft === undefined ? (draft ?? value) : (matching[0]?.value ?? value)));
    } else if (event.key === "Escape" && draft !== undefined) {
      // The choices close, and not the dialog that they are in.
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  };

  return (
    <div className={`combobox ${className}`}>
      <input
        className="input"
        role="combobox"
        aria-label={label}
        aria-expanded={isOpen}
        aria-controls={`${id}-list`}
        aria-activedescendant={isOpen && at >= 0 ? `${id}-${at}` : undefined}
        aria-autocomplete="list"
        autoComplete="off"
        spellCheck={false}
        placeholder={placeholder}
        value={draft ?? value}
        onFocus={(event) => {
          onFocus?.();
          event.target.select();
        }}
        onClick={() => draft === undefined && setDraft("")}
        onChange={(event) => {
          setDraft(event.target.value);
          setAt(-1);
        }}
        onBlur={() => (draft === undefined ? undefined : draft === "" ? close() : take(draft))}
        onKeyDown={onKeyDown}
      />
      {isOpen && (
        <div id={`${id}-list`} role="listbox" aria-label={label} className="listbox">
          {matching.map((choice, i) => (
            // Keys are the input's to handle.
            // biome-ignore lint/a11y/useKeyWithClickEvents: see above
            // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus
            <div
              key={choice.value}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === at || choice.value === value}
              className={i === at ? "at" : ""}
              ref={i === at ? (element) => element?.scrollIntoView({ block: "nearest" }) : undefined}
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => take(choice.value)}
            >
              <span>{choice.value}</span>
              {choice.note !== undefined && <small>{choice.note}</small>}
            </div>
          ))}
        </div>
      )}
      {!isOpen && <div id={`${id}-list`} role="listbox" aria-label={label} hidden />}
    </div>
  );
}
