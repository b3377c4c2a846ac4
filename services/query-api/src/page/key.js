/** The API key that a person pasted: for this tab only, gone with it. */
const PLACE = 'sightline-api-key';

export function storedKey() {
  return sessionStorage.getItem(PLACE) ?? '';
}

export function storeKey(key) {
  if (key) sessionStorage.setItem(PLACE, key);
  else sessionStorage.removeItem(PLACE);
}

/** What goes along with every request; nothing where no key is needed. */
export function keyHeaders() {
  const key = storedKey();
  return key ? { authorization: `Bearer ${key}` } : {};
}
