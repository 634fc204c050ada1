/**
 * The format in which Python sends arrays (flowviz/canvases/wire.py): the magic "FLOW", version,
 * header length and 0 as little-endian u32, a JSON header, then arrays at multiples of 8 bytes.
 */

const MAGIC = 0x574f4c46;
const VERSION = 1;
const PREFIX = 16;
const TYPES = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array, f8: Float64Array };

/**
 * The header of a payload, in which each entry {dtype, shape, offset} is replaced by a typed array
 * with the additional property `shape`.
 * @param {Uint8Array | ArrayBuffer} payload
 * @returns {any}
 * @throws {Error} The bytes are not a payload of this version.
 */
export function decode(payload) {
  const content = payload instanceof Uint8Array ? payload : new Uint8Array(payload);
  const bytes = content.byteOffset % 8 ? content.slice() : content; // typed arrays must start aligned
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < PREFIX || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== VERSION)
    throw new Error(`Not a flowviz payload of version ${VERSION}.`);
  const start = PREFIX + view.getUint32(8, true);
  const arrays = (name, value) => {
    if (!value?.dtype) return value;
    const length = value.shape.reduce((a, b) => a * b, 1);
    const array = new TYPES[value.dtype](bytes.buffer, bytes.byteOffset + start + value.offset, length);
    return Object.assign(array, { shape: value.shape });
  };
  return JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX, start)), arrays);
}

/**
 * Points that were sent as u16 over [-limit, limit].
 * @param {Uint16Array} words
 * @param {number} limit
 */
export function dequantised(words, limit) {
  const unit = (2 * limit) / 65535;
  return Float32Array.from(words, (word) => word * unit - limit);
}
