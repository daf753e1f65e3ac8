import { open, readdir, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { crc32c } from "@aws-crypto/crc32c";
import protobuf from "protobufjs/light.js";

/**
 * The part of TensorFlow's `event.proto` and `summary.proto` that is written here: names and numbers are TensorFlow's
 * own.
 *
 * Source: github.com/tensorflow/tensorflow, tensorflow/core/util/event.proto and
 * tensorflow/core/framework/summary.proto.
 */
const EVENT_SCHEMA = {
  nested: {
    Event: {
      oneofs: { what: { oneof: ["fileVersion", "summary", "sessionLog"] } },
      fields: {
        wallTime: { type: "double", id: 1 },
        step: { type: "int64", id: 2 },
        fileVersion: { type: "string", id: 3 },
        summary: { type: "Summary", id: 5 },
        sessionLog: { type: "SessionLog", id: 7 },
      },
    },
    SessionLog: { fields: { status: { type: "int32", id: 1 } } },
    Summary: { fields: { value: { rule: "repeated", type: "Value", id: 1 } } },
    Value: {
      oneofs: { value: { oneof: ["simpleValue", "image"] } },
      fields: {
        tag: { type: "string", id: 1 },
        simpleValue: { type: "float", id: 2 },
        image: { type: "Image", id: 4 },
      },
    },
    Image: {
      fields: {
        height: { type: "int32", id: 1 },
        width: { type: "int32", id: 2 },
        colorspace: { type: "int32", id: 3 },
        encodedImageString: { type: "bytes", id: 4 },
      },
    },
  },
};

const Event = protobuf.Root.fromJSON(EVENT_SCHEMA).lookupType("Event");

/** SessionLog.START: what a reader has seen of this step and later ones is void. */
const START = 1;
/** Image.colorspace of RGB. */
const RGB = 3;

/**
 * Writes an event file for TensorBoard. A run that goes on writes a further file, which begins by saying from which
 * step on the earlier ones are void.
 *
 * @example
 * await using events = await EventWriter.open("logs/tensorboard", 0);
 * await events.scalars(10, { "loss/total": 0.5 });
 */
export class EventWriter implements AsyncDisposable {
  private constructor(private readonly handle: FileHandle) {}

  /**
   * @param folder Exists. TensorBoard reads its files in the order of their names, which are numbers here.
   * @param after Steps up to this one stay valid.
   */
  static async open(folder: string, after: number): Promise<EventWriter> {
    const numbers = (await readdir(folder)).map((name) => Number(/tfevents\.(\d+)$/.exec(name)?.[1] ?? 0));
    const number = Math.max(0, ...numbers) + 1;
    const name = `events.out.tfevents.${String(number).padStart(10, "0")}`;
    const writer = new EventWriter(await open(join(folder, name), "wx"));
    await writer.write({ step: after + 1, fileVersion: "brain.Event:2" });
    if (number > 1) await writer.write({ step: after + 1, sessionLog: { status: START } });
    return writer;
  }

  /** Numbers at a step, by tag. */
  async scalars(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    const value = Object.entries(values).map(([tag, simpleValue]) => ({ tag, simpleValue }));
    await this.write({ step, summary: { value } });
  }

  /** @param png An RGB image as PNG. */
  async image(step: number, tag: string, png: Uint8Array, size: { width: number; height: number }): Promise<void> {
    const image = { height: size.height, width: size.width, colorspace: RGB, encodedImageString: png };
    await this.write({ step, summary: { value: [{ tag, image }] } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }

  private async write(event: Readonly<Record<string, unknown>>): Promise<void> {
    await this.handle.appendFile(recordOf(Event.encode({ wallTime: Date.now() / 1000, ...event }).finish()));
  }
}

/**
 * A record of a TFRecord file: length (8 bytes), its checksum (4), the data, its checksum (4); little-endian.
 *
 * Source: github.com/tensorflow/tensorflow, tensorflow/core/lib/io/record_writer.h.
 */
function recordOf(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(data.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(data), true);
  return record;
}

/** CRC-32C, turned by 15 bits and moved: a checksum of data that hold checksums would otherwise be weak. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
