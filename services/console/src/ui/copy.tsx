import { useState } from "react";
import { Icon } from "./icon";

/** Puts a text on the clipboard. */
export function Copy({ label = "Copy", text }: { label?: string; text(): string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text());
    setCopied(true);
    window.setTimeout(() => setCopied(false), 1_500);
  };
  // Pages that don't come over TLS or from this machine have no clipboard.
  if (navigator.clipboard === undefined) return null;
  return (
    <button type="button" className="button plain" onClick={() => void copy()}>
      <Icon name={isCopied ? "check" : "copy"} />
      {isCopied ? "Copied" : label}
    </button>
  );
}
