import { describe, expect, it } from "vitest";
import { NO_CLUSTER } from "../src/cloud/decode";
import { eased } from "../src/scene/flight";
import { extent, fitView, nearestInSpace, pickPoint, projectPoint } from "../src/scene/nearest";
import { clusterColour, clusterColours } from "../src/scene/palette";

/** A camera at the origin that looks along −z with a field of view of 90°. */
const VIEW = {
  matrix: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, -1, 0, 0, 0, 0],
  width: 400,
  height: 400,
};
const CLOUD = new Float32Array([0, 0, -10, 0, 0, -20, 5, 0, -10, 0, 0, 10]);

describe("points in the picture", () => {
  it("projects, with y downwards, and nothing from behind the camera", () => {
    expect(projectPoint(CLOUD, 0, VIEW)).toEqual({ x: 200, y: 200, depth: 10 });
    expect(projectPoint(CLOUD, 2, VIEW)).toEqual({ x: 300, y: 200, depth: 10 });
    expect(projectPoint(CLOUD, 3, VIEW)).toBeNull();
  });

  it("picks the front one of two that cover the mouse", () => {
    expect(pickPoint(CLOUD, VIEW, [200, 200], () => 5, 8)).toBe(0);
  });

  it("picks the nearest within reach, and none beyond it", () => {
    expect(pickPoint(CLOUD, VIEW, [310, 200], () => 5, 8)).toBe(2);
    expect(pickPoint(CLOUD, VIEW, [330, 200], () => 5, 8)).toBe(-1);
  });
});

describe("points in space", () => {
  const line = new Float32Array(Array.from({ length: 30 }, (_, index) => [index, 0, 0]).flat());

  it("finds the nearest in order, without those to skip", () => {
    const found = nearestInSpace(line, [10.2, 0, 0], 4);
    expect(found.map(({ index }) => index)).toEqual([10, 11, 9, 12]);
    const skipped = nearestInSpace(line, [10.2, 0, 0], 2, (index) => index === 10);
    expect(skipped.map(({ index }) => index)).toEqual([11, 9]);
  });

  it("gives all when there are fewer than wanted", () => {
    expect(nearestInSpace(line.slice(0, 6), [0, 0, 0], 12)).toHaveLength(2);
    expect(nearestInSpace(new Float32Array(), [0, 0, 0], 3)).toEqual([]);
  });

  it("measures the cloud without its last two per cent", () => {
    const { centre, radius } = extent(line);
    expect(centre[0]).toBeCloseTo(14.5, 4);
    expect(radius).toBeGreaterThan(13);
    expect(extent(new Float32Array([1, 2, 3]))).toEqual({ centre: [1, 2, 3], radius: 1 });
  });

  it("steps back as far as it must, and looks at the middle of what is there", () => {
    const frame = {
      centre: [0, 0, 0],
      right: [1, 0, 0],
      up: [0, 1, 0],
      back: [0, 0, 1],
      halfWidth: 1,
      halfHeight: 0.5,
    } as const;
    expect(fitView(new Float32Array([0, 3, 1]), frame)).toEqual({
      across: 0,
      along: 3,
      distance: 1,
    });
    const cloud = new Float32Array([-2, 0, 0, 4, 1, 0, 0, -1, 2]);
    const { across, along, distance } = fitView(cloud, frame);
    expect(across).toBe(1);
    for (let at = 0; at < cloud.length; at += 3) {
      const [x = 0, y = 0, z = 0] = cloud.subarray(at, at + 3);
      expect(Math.abs(x - across)).toBeLessThanOrEqual(distance - z);
      expect(Math.abs(y - along)).toBeLessThanOrEqual((distance - z) / 2);
    }
  });
});

describe("flight and colours", () => {
  it("starts and ends slowly", () => {
    expect([eased(0), eased(0.5), eased(1)]).toEqual([0, 0.5, 1]);
    expect(eased(0.1)).toBeLessThan(0.05);
  });

  it("gives neighbouring clusters different colours and none a grey", () => {
    const seen = new Set(Array.from({ length: 28 }, (_, cluster) => `${clusterColour(cluster)}`));
    expect(seen.size).toBe(28);
    expect([...clusterColours(new Uint16Array([NO_CLUSTER]))]).toEqual([138, 138, 148]);
  });
});
