import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { EventWriter } from "./tensorboard.js";
import { temporaryFolder } from "./testing.js";

/** CRC-32C bit by bit: x³² + x²⁸ + ... reflected, 0x82f63b78. */
function slowCrc(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Fields of a protocol buffer message, as they come: numbers, doubles, floats, bytes. */
function fieldsOf(data: Uint8Array): [id: number, value: number | Uint8Array][] {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const fields: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = (): number => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = data[at++]!;
      value += (byte & 127) * scale;
      scale *= 128;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const tag = varint();
    const [id, wire] = [tag >> 3, tag & 7];
    if (wire === 0) fields.push([id, varint()]);
    else if (wire === 1) [fields[fields.length], at] = [[id, view.getFloat64(at, true)], at + 8];
    else if (wire === 5) [fields[fields.length], at] = [[id, view.getFloat32(at, true)], at + 4];
    else {
      const length = varint();
      [fields[fields.length], at] = [[id, data.subarray(at, at + length)], at + length];
    }
  }
  return fields;
}

/** Messages of an event file, checksums checked. */
async function recordsOf(path: string): Promise<Uint8Array[]> {
  const bytes = new Uint8Array(await readFile(path));
  const view = new DataView(bytes.buffer);
  const unmasked = (at: number): number => {
    const turned = (view.getUint32(at, true) - 0xa282ead8) >>> 0;
    return ((turned >>> 17) | (turned << 15)) >>> 0;
  };
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    expect(unmasked(at + 8)).toBe(slowCrc(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(unmasked(at + 12 + length)).toBe(slowCrc(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

const text = (value: number | Uint8Array | undefined): string => new TextDecoder().decode(value as Uint8Array);

/** An event without its time, by TensorFlow's field numbers. */
function eventOf(record: Uint8Array): unknown {
  const event = new Map(fieldsOf(record));
  const time = event.get(1) as number;
  expect(Math.abs(time - Date.now() / 1000)).toBeLessThan(60);
  const step = event.get(2);
  if (event.has(3)) return { step, version: text(event.get(3)) };
  if (event.has(7)) return { step, status: new Map(fieldsOf(event.get(7) as Uint8Array)).get(1) };
  const values = fieldsOf(event.get(5) as Uint8Array).map(([id, value]) => {
    expect(id).toBe(1);
    const fields = new Map(fieldsOf(value as Uint8Array));
    const image = fields.get(4) && Object.fromEntries(fieldsOf(fields.get(4) as Uint8Array));
    return [text(fields.get(1)), image ?? fields.get(2)];
  });
  return { step, values: Object.fromEntries(values) as unknown };
}

test("EventWriter writes what a reader of its own finds, and says what is void when it goes on", async () => {
  await using folder = await temporaryFolder("events");
  const png = Uint8Array.of(1, 2, 3, 200);
  {
    await using events = await EventWriter.open(folder.path, 0);
    await events.scalars(10, { "loss/total": 0.5, "optimizer/learning_rate": 3e-4 });
    await events.image(10, "samples", png, { width: 30, height: 20 });
    await events.scalars(3_000_000_000, { "loss/total": -1e-30 });
  }
  {
    await using events = await EventWriter.open(folder.path, 7);
    await events.scalars(10, { "loss/total": 0.25 });
  }
  const files = (await readdir(folder.path)).sort();
  expect(files).toEqual(["events.out.tfevents.0000000001", "events.out.tfevents.0000000002"]);
  const [first, second] = await Promise.all(
    files.map(async (name) => (await recordsOf(join(folder.path, name))).map(eventOf)),
  );
  expect(first).toEqual([
    { step: 1, version: "brain.Event:2" },
    { step: 10, values: { "loss/total": 0.5, "optimizer/learning_rate": Math.fround(3e-4) } },
    { step: 10, values: { samples: { 1: 20, 2: 30, 3: 3, 4: png } } },
    { step: 3_000_000_000, values: { "loss/total": Math.fround(-1e-30) } },
  ]);
  expect(second).toEqual([
    { step: 8, version: "brain.Event:2" },
    { step: 8, status: 1 },
    { step: 10, values: { "loss/total": 0.25 } },
  ]);
});
