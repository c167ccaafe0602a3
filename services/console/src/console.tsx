import { useDoor } from "./lib/session";
import { SignIn } from "./pages/signin";
import { Shell } from "./shell";
import { Waiting } from "./ui/states";

export function Console() {
  const { state, enter } = useDoor();
  switch (state.is) {
    case "out":
      return <SignIn fault={state.fault} enter={enter} />;
    case "entering":
      return <Waiting what="Signing in" />;
    case "in":
      return <Shell />;
  }
}
