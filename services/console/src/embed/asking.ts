import { sheet } from "./sheet";

/** An element that asks anew when its attributes change, once for all that change together, and gives up what it asked before. */
export abstract class Asking extends HTMLElement {
  protected readonly root = this.attachShadow({ mode: "open" });
  private abort: AbortController | undefined;
  private isAsked = false;

  /** Asks by the attributes as they are, until the signal says that this is no longer wanted. */
  protected abstract answer(signal: AbortSignal): Promise<void>;
  /** Takes away what is shown. */
  protected abstract empty(): void;

  connectedCallback() {
    this.root.adoptedStyleSheets = [sheet];
    this.ask();
  }

  disconnectedCallback() {
    this.abort?.abort();
    this.empty();
  }

  attributeChangedCallback() {
    this.ask();
  }

  private ask() {
    if (this.isAsked || !this.isConnected) return;
    this.isAsked = true;
    queueMicrotask(() => {
      this.isAsked = false;
      this.abort?.abort();
      this.abort = new AbortController();
      void this.answer(this.abort.signal);
    });
  }
}
