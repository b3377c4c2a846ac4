/** Larger files are made smaller here before they are sent. */
const MAX_SENT_BYTES = 8 * 1024 * 1024;
const SENT_SIDE_PX = 1600;

/** A chosen or dropped file as the data URL that is sent. Throws an Error for people. */
export async function dataUrlOf(file) {
  if (!file.type.startsWith('image/')) throw new Error(`“${file.name}” is not a picture.`);
  const blob = file.size > MAX_SENT_BYTES ? await smaller(file) : file;
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => resolve(reader.result));
    reader.addEventListener('error', () => reject(new Error(`“${file.name}” cannot be read.`)));
    reader.readAsDataURL(blob);
  });
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`“${file.name}” is too large to be sent, and this browser cannot make it smaller.`);
  });
  const scale = Math.min(1, SENT_SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
}
