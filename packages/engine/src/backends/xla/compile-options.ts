import protobuf from "protobufjs/light.js";

/**
 * The part of XLA's `CompileOptionsProto` that is said: fields that are not listed have their defaults.
 *
 * Source: github.com/openxla/xla, xla/pjrt/proto/compile_options.proto.
 */
const SCHEMA = {
  nested: {
    xla: {
      nested: {
        CompileOptionsProto: {
          fields: {
            executableBuildOptions: { type: "ExecutableBuildOptionsProto", id: 3 },
            envOptionOverrides: { keyType: "string", type: "OptionOverrideProto", id: 7 },
          },
        },
        ExecutableBuildOptionsProto: {
          fields: {
            deviceOrdinal: { type: "int64", id: 1 },
            numReplicas: { type: "int64", id: 4 },
            numPartitions: { type: "int64", id: 5 },
          },
        },
        OptionOverrideProto: {
          oneofs: { value: { oneof: ["stringField", "boolField"] } }, // so that false is said, too
          fields: { stringField: { type: "string", id: 1 }, boolField: { type: "bool", id: 2 } },
        },
      },
    },
  },
};

const CompileOptionsProto = protobuf.Root.fromJSON(SCHEMA).lookupType("xla.CompileOptionsProto");

/** XLA's own flags, by their names without the dashes. One that it does not know is an error when it compiles. */
export type XlaFlags = Readonly<Record<string, string | boolean>>;

/** Bytes that say how a program is compiled: for one device. */
export function encodeCompileOptions(flags: XlaFlags = {}): Uint8Array {
  const overrides = Object.entries(flags).map(([name, value]) => [
    name,
    typeof value === "boolean" ? { boolField: value } : { stringField: value },
  ]);
  const options = {
    executableBuildOptions: { deviceOrdinal: -1, numReplicas: 1, numPartitions: 1 },
    envOptionOverrides: Object.fromEntries(overrides) as Record<string, object>,
  };
  return CompileOptionsProto.encode(CompileOptionsProto.create(options)).finish();
}
