/** How files begin that are often found among images and are not decoded. */
const BEGINNINGS: readonly (readonly [kind: string, beginning: RegExp])[] = [
  ["JPEG 2000", /^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/],
  ["JPEG XL", /^(\xff\x0a|\0\0\0\x0cJXL )/],
  ["HEIC", /^....ftyp(hei[cxms]|hev[cxms])/s],
  ["an icon", /^\0\0[\x01\x02]\0[\x01-\xff]\0/],
  ["Photoshop's format", /^8BPS/],
  ["PCX", /^\x0a[\0-\x05]\x01[\x01\x02\x04\x08]/],
  ["DDS", /^DDS /],
  ["OpenEXR", /^\x76\x2f\x31\x01/],
  ["Radiance's HDR", /^#\?(RADIANCE|RGBE)/],
  ["QOI", /^qoif/],
  ["PFM, of floats", /^P[Ff]\s/],
  ["PAM", /^P7\s/],
  ["FITS", /^SIMPLE {2}=/],
  ["PDF", /^%PDF/],
  ["compressed by gzip", /^\x1f\x8b/],
  ["a ZIP archive", /^PK\x03\x04/],
  ["an HTML page", /^\s*<(!doctype html|html)/i],
];

/**
 * What a file is that is no image which is read, or nothing if that is not known.
 *
 * @param file The file's bytes. Borrowed.
 */
export function foreignKind(file: Uint8Array): string | undefined {
  const text = Buffer.from(file.subarray(0, 64)).toString("latin1");
  return BEGINNINGS.find(([, beginning]) => beginning.test(text))?.[0];
}
