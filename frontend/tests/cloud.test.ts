import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BadCloud, decodeCloud, NO_CLUSTER } from "../src/cloud/decode";

interface Golden {
  count: number;
  min: number[];
  max: number[];
  points: { position: number[]; cluster: number | null; id: number }[];
}

function golden(name: string): Buffer {
  return readFileSync(join(import.meta.dirname, "../../tests/golden", name));
}

function cloudBytes(): ArrayBuffer {
  return new Uint8Array(golden("cloud-v1.bin")).buffer;
}

describe("decodeCloud", () => {
  const expected = JSON.parse(golden("cloud-v1.json").toString()) as Golden;

  it("reads the file that Python reads too", () => {
    const cloud = decodeCloud(cloudBytes());
    expect(cloud.count).toBe(expected.count);
    expect(cloud.min).toEqual(expected.min);
    expect(cloud.max).toEqual(expected.max);
    for (const [index, point] of expected.points.entries()) {
      for (const [axis, value] of point.position.entries()) {
        expect(cloud.positions[index * 3 + axis]).toBeCloseTo(value, 5);
      }
      expect(cloud.clusters[index]).toBe(point.cluster ?? NO_CLUSTER);
      expect(cloud.ids[index]).toBe(point.id);
    }
  });

  it("reaches both corners of the bounding box exactly", () => {
    const { positions, min, max } = decodeCloud(cloudBytes());
    expect([...positions.slice(0, 3)]).toEqual(min);
    expect([...positions.slice(-3)]).toEqual(max);
  });

  it("reads a cloud without points", () => {
    const empty = cloudBytes().slice(0, 48);
    const view = new DataView(empty);
    view.setUint32(8, 0, true);
    view.setUint32(12, 48, true);
    expect(decodeCloud(empty).count).toBe(0);
  });

  it.each([
    ["cut off anywhere", (bytes: ArrayBuffer) => bytes.slice(0, bytes.byteLength - 1)],
    ["cut off in the header", (bytes: ArrayBuffer) => bytes.slice(0, 20)],
    ["of other magic", (bytes: ArrayBuffer) => poke(bytes, 0, 0x58)],
    ["of a newer version", (bytes: ArrayBuffer) => poke(bytes, 4, 2)],
    ["of other point size", (bytes: ArrayBuffer) => poke(bytes, 6, 16)],
    ["with ids inside the points", (bytes: ArrayBuffer) => poke(bytes, 12, 50)],
    ["that promises more points than it has", (bytes: ArrayBuffer) => poke(bytes, 8, 200)],
  ])("refuses bytes %s", (_what, spoil) => {
    expect(() => decodeCloud(spoil(cloudBytes()))).toThrow(BadCloud);
  });
});

function poke(bytes: ArrayBuffer, offset: number, value: number): ArrayBuffer {
  new Uint8Array(bytes)[offset] = value;
  return bytes;
}
