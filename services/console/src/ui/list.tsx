import type { ReactNode } from "react";

/** A table of things; what is too wide scrolls within it. */
export function List({ label, children }: { label: string; children: ReactNode }) {
  return (
    // A region that scrolls must be within the keyboard's reach.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
    <section className="scroll-x" tabIndex={0} aria-label={label}>
      <table className="list">{children}</table>
    </section>
  );
}
