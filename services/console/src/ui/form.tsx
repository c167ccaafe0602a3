import { type FormEvent, type ReactNode, useState } from "react";
import { type Fault, faultOf, type Violation } from "../api/fault";
import { Button } from "./button";
import { Wrong } from "./states";

/** What the server holds against a field of the contract, if anything. Of one that takes several, `given` are those that were sent. */
export type WrongWith = (field: string, given?: readonly string[]) => string | undefined;

interface Props {
  /** What its button says. */
  label: string;
  isReady?: boolean;
  /** Fields of the contract that say themselves what is wrong with them. */
  marks?: readonly string[];
  /** What it asks for; a function is told what is wrong with a field. */
  children: ReactNode | ((wrong: WrongWith) => ReactNode);
  /** Throws what went wrong, which is said above the button. */
  onSubmit(): Promise<void>;
}

/** What a dialog asks for, and its button. */
export function DialogForm({ label, isReady = true, marks = [], children, onSubmit }: Props) {
  const [fault, setFault] = useState<Fault>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await onSubmit();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  const violations = fault?.violations ?? [];
  const isMarked = violations.length > 0 && violations.every(({ field }) => marks.some((mark) => isOf(mark, field)));
  const wrong: WrongWith = (mark, given = []) => {
    const told = violations.filter(({ field }) => isOf(mark, field)).map((violation) => saying(violation, given));
    return told.length === 0 ? undefined : told.join("; ");
  };
  return (
    <form
      className="dialog-body"
      onSubmit={(event) => void submit(event)}
      // What is marked is what was sent, and no longer what stands there.
      onInput={() => isMarked && setFault(undefined)}
    >
      {typeof children === "function" ? children(wrong) : children}
      <Wrong text={isMarked ? "What is wrong is marked where it stands." : fault?.message} />
      <div className="dialog-actions">
        <Button type="submit" kind="primary" disabled={!isReady}>
          {label}
        </Button>
      </div>
    </form>
  );
}

/** Whether it is the field, or one of its items. */
function isOf(mark: string, field: string): boolean {
  return field === mark || field.startsWith(`${mark}[`);
}

function saying({ field, description }: Violation, given: readonly string[]): string {
  const item = given[Number(/\[(\d+)\]$/.exec(field)?.[1])];
  return item === undefined ? description : `${item} ${description}`;
}
