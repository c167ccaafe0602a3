import type { ReactNode } from "react";
import { Copy } from "./copy";

/** A text to be taken elsewhere. */
export function Code({ title, text, children }: { title: string; text: string; children?: ReactNode }) {
  return (
    <section className="code" aria-label={title}>
      <header>
        <h3>{title}</h3>
        {children}
        <Copy text={() => text} />
      </header>
      <pre>{text}</pre>
    </section>
  );
}
