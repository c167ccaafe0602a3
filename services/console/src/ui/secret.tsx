import { Button } from "./button";
import { Copy } from "./copy";

/** What is shown once: a key's text, or the secret that it signs with. */
export function Secret({ name = "key's text", text, onClose }: { name?: string; text: string; onClose?: () => void }) {
  return (
    <div className="notice secret" role="status">
      <p>
        <strong>This is the {name}. It is shown only now:</strong> put it where it is needed.
      </p>
      <input
        className="input mono"
        aria-label={`The ${name}`}
        readOnly
        value={text}
        onFocus={(event) => event.target.select()}
      />
      {onClose ? <Button onClick={onClose}>I have it</Button> : <Copy text={() => text} />}
    </div>
  );
}
