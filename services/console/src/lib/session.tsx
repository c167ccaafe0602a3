import { createContext, type ReactNode, use, useCallback, useEffect, useMemo, useState } from "react";
import { type Access, type App, accessOf, type Permission } from "../api/access";
import { type Api, connect } from "../api/client";
import { type Fault, faultOf } from "../api/fault";
import { go, usePlace } from "./route";
import { read, write } from "./store";

export interface Session {
  readonly api: Api;
  readonly access: Access;
  may(permission: Permission): boolean;
  /** Asks again what the key may do and reach, after that was changed. Throws a Fault. */
  renew(): Promise<void>;
  signOut(): void;
}

type State = { is: "out"; fault?: Fault } | { is: "entering" } | { is: "in"; session: Session };

interface Door {
  readonly state: State;
  enter(key: string): Promise<void>;
}

/** Only for this tab, and gone with it. */
const NAME = "penstock.key";
const Context = createContext<Door | undefined>(undefined);

export function SessionProvider({ children }: { children: ReactNode }) {
  // What was kept is read once, at the start.
  const [kept] = useState(() => read(window.sessionStorage, NAME));
  const [state, setState] = useState<State>(kept === null ? { is: "out" } : { is: "entering" });

  const enter = useCallback(async (key: string) => {
    setState({ is: "entering" });
    const api = connect(key);
    try {
      const first = await accessOf(api, key);
      write(window.sessionStorage, NAME, key);
      const signOut = () => {
        write(window.sessionStorage, NAME, null);
        go("");
        setState({ is: "out" });
      };
      const renew = async () => show(await accessOf(api, key));
      const show = (access: Access) => {
        const may = (word: Permission) => access.permissions.has(word);
        setState({ is: "in", session: { api, access, may, renew, signOut } });
      };
      show(first);
    } catch (error) {
      write(window.sessionStorage, NAME, null);
      setState({ is: "out", fault: faultOf(error) });
    }
  }, []);

  useEffect(() => {
    if (kept !== null) void enter(kept);
  }, [kept, enter]);

  return <Context value={useMemo(() => ({ state, enter }), [state, enter])}>{children}</Context>;
}

export function useDoor(): Door {
  const door = use(Context);
  if (door === undefined) throw new Error("useDoor stands outside of SessionProvider");
  return door;
}

export function useSession(): Session {
  const { state } = useDoor();
  if (state.is !== "in") throw new Error("useSession stands outside of a session");
  return state.session;
}

/** The app that the address names, else the first. */
export function useApp(): App | undefined {
  const { access } = useSession();
  const named = usePlace().params.get("app");
  return access.apps.find((app) => app.id === named) ?? access.apps[0];
}
