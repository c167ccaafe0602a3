import type { ReactNode } from "react";
import type { Fault } from "../api/fault";
import type { Answer } from "../lib/answer";
import { Button } from "./button";
import { Icon, type IconName } from "./icon";

/** Nothing is there, and what to do about it. */
export function Empty({ icon = "explore", title, children }: { icon?: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <span className="state-icon">
        <Icon name={icon} />
      </span>
      <h2>{title}</h2>
      <div className="state-text">{children}</div>
    </div>
  );
}

export function Failed({
  fault,
  again,
  title = "That didn't work",
}: {
  fault: Fault;
  again?: () => void;
  title?: string;
}) {
  return (
    <div className="state failed" role="alert">
      <span className="state-icon">
        <Icon name="warn" />
      </span>
      <h2>{title}</h2>
      <div className="state-text">
        <p>{fault.message}</p>
        {fault.violations.length > 1 && (
          <ul>
            {fault.violations.map(({ field, description }) => (
              <li key={field + description}>
                <code>{field}</code> {description}
              </li>
            ))}
          </ul>
        )}
        {fault.retryMs !== undefined && (
          <p>It can be asked again in {Math.max(1, Math.ceil(fault.retryMs / 1000))} s.</p>
        )}
        {again && <Button onClick={again}>Try again</Button>}
      </div>
    </div>
  );
}

export function Waiting({ what = "Loading" }: { what?: string }) {
  return (
    <div className="state waiting" role="status">
      <span className="spinner" aria-hidden="true" />
      <span>{what}…</span>
    </div>
  );
}

/** What went wrong with something that was done, if anything did. */
export function Wrong({ text }: { text: string | undefined }) {
  if (text === undefined || text === "") return null;
  return (
    <p className="notice wrong" role="alert">
      {text}
    </p>
  );
}

/** A list that was asked for: that it is waited for, why there is none, what to do while it is empty, or it. */
export function Listed<T>({
  answer,
  empty,
  children,
}: {
  answer: Answer<readonly T[]>;
  empty?: ReactNode;
  children(items: readonly T[]): ReactNode;
}) {
  const { value, fault, again } = answer;
  return (
    <>
      {fault !== undefined && <Failed fault={fault} again={again} />}
      {fault === undefined && value === undefined && <Waiting />}
      {value !== undefined && (value.length > 0 || empty === undefined ? children(value) : empty)}
    </>
  );
}

/** A text with the part at fault underlined. */
export function Underlined({ text, start, end }: { text: string; start: number; end: number }) {
  return (
    <code className="underlined">
      {text.slice(0, start)}
      <mark>{text.slice(start, end) || " "}</mark>
      {text.slice(end)}
    </code>
  );
}
