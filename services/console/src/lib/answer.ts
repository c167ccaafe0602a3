import { useEffect, useRef, useState } from "react";
import { type Fault, faultOf, isAborted } from "../api/fault";

/** What became of a question: the last answer stays while the next is waited for. */
export interface Answer<T> {
  readonly value: T | undefined;
  readonly fault: Fault | undefined;
  readonly isWaiting: boolean;
  readonly again: () => void;
}

/** Asks whenever `key` changes, `delayMs` after the last change; `undefined` asks nothing. */
export function useAnswer<T>(
  key: string | undefined,
  ask: (signal: AbortSignal) => Promise<T>,
  delayMs = 0,
): Answer<T> {
  const [state, setState] = useState<{ value?: T; fault?: Fault; of?: string }>({});
  const [count, setCount] = useState(0);
  const asked = useRef(ask);
  asked.current = ask;
  const wanted = key === undefined ? undefined : `${count} ${key}`;
  useEffect(() => {
    if (wanted === undefined) return;
    const abort = new AbortController();
    const timer = window.setTimeout(async () => {
      try {
        const value = await asked.current(abort.signal);
        if (!abort.signal.aborted) setState({ value, of: wanted });
      } catch (error) {
        if (!abort.signal.aborted && !isAborted(error)) {
          setState((before) => ({
            ...(before.value === undefined ? {} : { value: before.value }),
            fault: faultOf(error),
            of: wanted,
          }));
        }
      }
    }, delayMs);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [wanted, delayMs]);
  return {
    value: state.value,
    fault: state.fault,
    isWaiting: wanted !== undefined && state.of !== wanted,
    again: () => setCount((n) => n + 1),
  };
}

const EVERY_MS = 5_000;

/** Asks again every 5 seconds, after the answer to the last time. */
export function useAnswerEvery<T>(key: string, ask: (signal: AbortSignal) => Promise<T>): Answer<T> {
  const answer = useAnswer(key, ask);
  const { again, isWaiting } = answer;
  useEffect(() => {
    if (isWaiting) return;
    const timer = window.setTimeout(again, EVERY_MS);
    return () => window.clearTimeout(timer);
  });
  return answer;
}
