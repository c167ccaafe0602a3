/** Browser storage that may be forbidden or full: then things are forgotten, and nothing fails. */
export function read(storage: Storage, name: string): string | null {
  try {
    return storage.getItem(name);
  } catch {
    return null;
  }
}

export function write(storage: Storage, name: string, value: string | null): boolean {
  try {
    if (value === null) storage.removeItem(name);
    else storage.setItem(name, value);
    return true;
  } catch {
    return false;
  }
}
