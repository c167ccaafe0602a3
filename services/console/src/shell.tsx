import { Suspense, useEffect, useRef, useState } from "react";
import { type App, MEANING } from "./api/access";
import { brand } from "./lib/brand";
import { switchLetters, useLettersOn } from "./lib/letters";
import { go, href, usePlace } from "./lib/route";
import { useApp, useSession } from "./lib/session";
import { toggleTheme, useTheme } from "./lib/theme";
import { PAGES, type Page } from "./pages";
import { Name } from "./ui/brand";
import { Button } from "./ui/button";
import { Dialog } from "./ui/dialog";
import { Select } from "./ui/field";
import { Icon } from "./ui/icon";
import { Empty, Waiting } from "./ui/states";

/** Of pages that are about none. */
const NO_APP: App = { id: "", name: "", zone: "UTC" };

export function Shell() {
  const session = useSession();
  const { page: path } = usePlace();
  const app = useApp();
  // An installation's operator has no apps of its own.
  const isOperator = app === undefined && session.may("operator");
  const allowed = PAGES.filter(({ needs }) =>
    needs.some((permission) => session.may(permission) && (!isOperator || permission === "operator")),
  );
  const page = allowed.find((one) => one.path === path) ?? (path === "" ? allowed[0] : undefined);
  const [isHelping, setHelping] = useState(false);
  const [isMenuOpen, setMenuOpen] = useState(false);
  useLetters(allowed, () => setHelping(true));
  useEffect(() => {
    document.title = page === undefined ? brand().name : `${page.label} · ${brand().name}`;
  }, [page]);

  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to content
      </a>
      <nav className={`side ${isMenuOpen ? "open" : ""}`} aria-label="Pages">
        <div className="side-head">
          <a className="brand" href={href("")} onClick={follow("")}>
            <Name />
          </a>
          <Button
            kind="quiet"
            icon="menu"
            className="menu-button"
            aria-label="Menu"
            aria-expanded={isMenuOpen}
            onClick={() => setMenuOpen(!isMenuOpen)}
          />
        </div>
        <div className="side-body">
          <AppChoice />
          {(["Ask", "Manage"] as const).map((group) => (
            <Group
              key={group}
              title={group}
              pages={allowed.filter((one) => one.group === group)}
              current={page}
              onFollow={() => setMenuOpen(false)}
            />
          ))}
          <Account onHelp={() => setHelping(true)} />
        </div>
      </nav>
      <main id="main" tabIndex={-1}>
        {page === undefined || (app === undefined && !page.isOfNoApp) ? (
          <>
            <h1 className="unseen">{brand().name}</h1>
            <Nowhere hasApp={app !== undefined || isOperator} path={path} />
          </>
        ) : (
          <Suspense fallback={<Waiting what={`Opening ${page.label}`} />}>
            <page.show key={`${page.path} ${app?.id}`} app={app ?? NO_APP} />
          </Suspense>
        )}
      </main>
      {isHelping && <Shortcuts pages={allowed} onClose={() => setHelping(false)} />}
    </div>
  );
}

/** Follows a link within the console, unless a new tab is wanted. */
function follow(page: string, then?: () => void) {
  return (event: { metaKey: boolean; ctrlKey: boolean; shiftKey: boolean; preventDefault(): void }) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(page, kept());
    then?.();
  };
}

/** The app stays the same from page to page. */
function kept(): Record<string, string> {
  return { app: new URLSearchParams(window.location.search).get("app") ?? "" };
}

function Group({
  title,
  pages,
  current,
  onFollow,
}: {
  title: string;
  pages: readonly Page[];
  current: Page | undefined;
  onFollow(): void;
}) {
  if (pages.length === 0) return null;
  return (
    <section className="nav-group">
      <h2>{title}</h2>
      <ul>
        {pages.map((page) => (
          <li key={page.path}>
            <a
              href={href(page.path, kept())}
              aria-current={page === current ? "page" : undefined}
              title={page.label}
              onClick={follow(page.path, onFollow)}
            >
              <Icon name={page.icon} />
              <span>{page.label}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function AppChoice() {
  const { access } = useSession();
  const app = useApp();
  const { page } = usePlace();
  if (app === undefined) return null;
  const options = access.apps.map(({ id, name }) => ({ value: id, label: name === id ? id : `${name} (${id})` }));
  return (
    <div className="app-choice">
      <Select label="App" value={app.id} options={options} onChange={(id) => go(page, { app: id })} />
    </div>
  );
}

function Account({ onHelp }: { onHelp(): void }) {
  const { access, signOut } = useSession();
  const theme = useTheme();
  return (
    <section className="account" aria-label="Signed in">
      <details>
        <summary>
          <span className="account-name">{access.tenant || "Signed in"}</span>
          <code>{access.keyId}</code>
        </summary>
        <div className="account-may">
          <p>This key may</p>
          <ul>
            {[...access.permissions].map((permission) => (
              <li key={permission}>{MEANING[permission]}</li>
            ))}
          </ul>
        </div>
      </details>
      <div className="account-actions">
        <Button
          kind="quiet"
          icon={theme === "dark" ? "sun" : "moon"}
          aria-label={theme === "dark" ? "Light theme" : "Dark theme"}
          title={theme === "dark" ? "Light theme" : "Dark theme"}
          onClick={toggleTheme}
        />
        <Button kind="quiet" icon="help" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" onClick={onHelp} />
        <Button kind="quiet" icon="out" aria-label="Sign out" title="Sign out" onClick={signOut} />
      </div>
    </section>
  );
}

function Nowhere({ hasApp, path }: { hasApp: boolean; path: string }) {
  const { may } = useSession();
  if (!hasApp) {
    return (
      <Empty icon="app" title="There is no app yet">
        <p>
          {may("admin")
            ? "An app is what events are sent to. Make one on the page Apps."
            : "Ask an admin of your tenant for an app, and for a key that reaches it."}
        </p>
        {may("admin") && (
          <Button kind="primary" onClick={() => go("apps")}>
            Open Apps
          </Button>
        )}
      </Empty>
    );
  }
  return (
    <Empty icon="search" title="There is nothing here">
      <p>
        {PAGES.some((page) => page.path === path)
          ? "This key may not see this page. Sign in with one that may."
          : "No page has this address. Choose one on the left."}
      </p>
    </Empty>
  );
}

/** "g" and a letter goes to a page, "?" shows all of them, unless that is switched off. */
function useLetters(pages: readonly Page[], onHelp: () => void) {
  const isGoing = useRef(false);
  const areOn = useLettersOn();
  useEffect(() => {
    if (!areOn) return;
    const onKey = (event: KeyboardEvent) => {
      const target = event.target instanceof HTMLElement ? event.target : undefined;
      const isTyping =
        target?.shadowRoot != null ||
        target?.isContentEditable ||
        /^(INPUT|SELECT|TEXTAREA)$/.test(target?.tagName ?? "");
      if (isTyping || event.metaKey || event.ctrlKey || event.altKey) return;
      const page = isGoing.current ? pages.find(({ letter }) => letter === event.key) : undefined;
      isGoing.current = event.key === "g";
      if (event.key === "?") onHelp();
      if (page !== undefined) go(page.path, kept());
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [pages, onHelp, areOn]);
}

function Shortcuts({ pages, onClose }: { pages: readonly Page[]; onClose(): void }) {
  const areOn = useLettersOn();
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <label className="check shortcuts-on">
        <input type="checkbox" checked={areOn} onChange={(event) => switchLetters(event.target.checked)} />
        Single keys are shortcuts
      </label>
      <dl className="shortcuts">
        {pages.map(({ letter, label, path }) => (
          <div key={path}>
            <dt>
              <kbd>g</kbd> <kbd>{letter}</kbd>
            </dt>
            <dd>{label}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>Ctrl</kbd> <kbd>Enter</kbd>
          </dt>
          <dd>Run the SQL</dd>
        </div>
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>This help</dd>
        </div>
      </dl>
    </Dialog>
  );
}
