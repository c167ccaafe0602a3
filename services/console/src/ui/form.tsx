import { type FormEvent, type ReactNode, useState } from "react";
import { type Fault, faultOf } from "../api/fault";
import { Button } from "./button";
import { Wrong } from "./states";

interface Props {
  /** What its button says. */
  label: string;
  isReady?: boolean;
  children: ReactNode;
  /** Throws what went wrong, which is said above the button. */
  onSubmit(): Promise<void>;
}

/** What a dialog asks for, and its button. */
export function DialogForm({ label, isReady = true, children, onSubmit }: Props) {
  const [fault, setFault] = useState<Fault>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await onSubmit();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <form className="dialog-body" onSubmit={(event) => void submit(event)}>
      {children}
      <Wrong text={fault?.message} />
      <div className="dialog-actions">
        <Button type="submit" kind="primary" disabled={!isReady}>
          {label}
        </Button>
      </div>
    </form>
  );
}
