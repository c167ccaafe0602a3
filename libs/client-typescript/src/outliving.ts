/** What browsers let outlive a page: so many bytes of its requests' bodies at a time; what goes beyond they refuse (https://fetch.spec.whatwg.org). */
const MOST_BYTES = 64 << 10;

/** Fetch for a page whose events outlive it while that is wanted, as far as its browser lets them. */
export class Outliving {
  /** Whether the page may end at any time. */
  wanted = false;
  #underWay = 0;

  /** How many more bytes may be sent that outlive the page. */
  get room(): number {
    return Math.max(0, MOST_BYTES - this.#underWay);
  }

  /** How many bytes a request may have, if it is the only one under way. */
  get longest(): number {
    return this.wanted ? MOST_BYTES : Number.POSITIVE_INFINITY;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const body = init?.body;
    const bytes = body instanceof Uint8Array && String(input).includes(".IngestService/") ? body.length : Number.POSITIVE_INFINITY;
    if (!this.wanted || bytes > this.room) return fetch(input, init);
    this.#underWay += bytes;
    try {
      return await fetch(input, { ...init, keepalive: true });
    } catch (error) {
      // The page's other requests count too, and being refused looks like being cut off.
      if (error instanceof TypeError) return await fetch(input, init);
      throw error;
    } finally {
      this.#underWay -= bytes;
    }
  };
}
