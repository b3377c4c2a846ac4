import { send } from './call.js';
import { storedKey } from './key.js';

/** Shows an asset's picture in an `img`. `onError` when it cannot be had. */
export function showAsset(img, assetId, widthPx, onError) {
  showPicture(img, `/v1/assets/${encodeURIComponent(assetId)}/image?width=${widthPx}`, onError);
}

/**
 * Shows a picture of the interface in an `img`. Without a key its address does; with one the picture is fetched, because an `img`
 * sends no key, and shown from memory. `onError` when it cannot be had.
 */
export function showPicture(img, address, onError = () => undefined) {
  img.addEventListener('error', onError, { once: true });
  if (!storedKey()) {
    img.src = address;
    return;
  }
  const load = () =>
    send(address)
      .then((response) => response.blob())
      .then((blob) => {
        const url = URL.createObjectURL(blob);
        img.addEventListener('load', () => URL.revokeObjectURL(url), { once: true });
        img.src = url;
      })
      .catch(onError);
  if (img.loading !== 'lazy') return void load();
  // What `loading=lazy` does for an address.
  const seen = new IntersectionObserver(
    (entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      seen.disconnect();
      void load();
    },
    { rootMargin: '400px' },
  );
  seen.observe(img);
}
