/** A warning of the interface, which is a code, a colon, and what it means, for people. */
export function warningSentence(warning) {
  const meaning = warning.replace(/^[a-z_]+: /, '');
  return meaning.charAt(0).toUpperCase() + meaning.slice(1);
}
