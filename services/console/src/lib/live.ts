import { useEffect, useRef, useState } from "react";
import { follow, type Live, NOTHING, type Question } from "./follow";
import { useSession } from "./session";

/** Asks whenever `key` changes; `undefined` keeps what is there and follows nothing. */
export function useLive(
  key: string | undefined,
  question: Question | undefined,
  zone: string,
  intervalMs = 1_000,
): Live {
  const { api } = useSession();
  const [live, setLive] = useState<Live>(NOTHING);
  const asked = useRef(question);
  asked.current = question;
  useEffect(() => {
    if (key === undefined || asked.current === undefined) return;
    const abort = new AbortController();
    setLive(NOTHING);
    void follow(api, asked.current, zone, intervalMs, abort.signal, (next) => {
      if (!abort.signal.aborted) setLive(next);
    });
    return () => abort.abort();
  }, [api, key, zone, intervalMs]);
  return live;
}
