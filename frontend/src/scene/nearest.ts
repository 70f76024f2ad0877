/** Nearest points, in the picture and in space. Linear scans: 100,000 points take about a millisecond. */

export interface Nearest {
  index: number;
  /** Squared distance. */
  distance: number;
}

/**
 * The `wanted` points nearest to (x, y, z), the nearest first.
 * `skip` leaves points out; positions are x, y, z of each point in turn.
 */
export function nearestInSpace(
  positions: Float32Array,
  [x, y, z]: readonly [number, number, number],
  wanted: number,
  skip: (index: number) => boolean = () => false,
): Nearest[] {
  const best: Nearest[] = [];
  const count = positions.length / 3;
  for (let index = 0; index < count; index += 1) {
    const dx = (positions[index * 3] ?? 0) - x;
    const dy = (positions[index * 3 + 1] ?? 0) - y;
    const dz = (positions[index * 3 + 2] ?? 0) - z;
    const distance = dx * dx + dy * dy + dz * dz;
    const worst = best[wanted - 1];
    if ((worst && distance >= worst.distance) || skip(index)) continue;
    let at = Math.min(best.length, wanted - 1);
    while (at > 0 && (best[at - 1]?.distance ?? 0) > distance) at -= 1;
    best.splice(at, 0, { index, distance });
    if (best.length > wanted) best.pop();
  }
  return best;
}

export interface View {
  /** Column-major 4 × 4: projection × view. */
  matrix: ArrayLike<number>;
  /** Size of the picture in CSS pixels. */
  width: number;
  height: number;
}

export interface Projected {
  x: number;
  y: number;
  /** Distance in front of the camera, in units of the cloud. */
  depth: number;
}

/** Where a point is in the picture; null behind the camera. */
export function projectPoint(
  positions: Float32Array,
  index: number,
  { matrix: m, width, height }: View,
): Projected | null {
  const x = positions[index * 3] ?? 0;
  const y = positions[index * 3 + 1] ?? 0;
  const z = positions[index * 3 + 2] ?? 0;
  const at = (row: number): number =>
    (m[row] ?? 0) * x + (m[row + 4] ?? 0) * y + (m[row + 8] ?? 0) * z + (m[row + 12] ?? 0);
  const depth = at(3);
  if (depth <= 0) return null;
  return {
    x: ((at(0) / depth + 1) / 2) * width,
    y: ((1 - at(1) / depth) / 2) * height,
    depth,
  };
}

/**
 * The point under (x, y): the front one of those whose disc covers it, else the nearest within
 * `slack` pixels of its disc. `radius(depth)` is a disc's radius in CSS pixels. -1 for none.
 */
export function pickPoint(
  positions: Float32Array,
  view: View,
  [x, y]: readonly [number, number],
  radius: (depth: number) => number,
  slack: number,
): number {
  let covering = -1;
  let coveringDepth = Number.POSITIVE_INFINITY;
  let near = -1;
  let nearDistance = slack;
  const count = positions.length / 3;
  for (let index = 0; index < count; index += 1) {
    const point = projectPoint(positions, index, view);
    if (!point) continue;
    const beyond = Math.hypot(point.x - x, point.y - y) - radius(point.depth);
    if (beyond <= 0) {
      if (point.depth < coveringDepth) {
        covering = index;
        coveringDepth = point.depth;
      }
    } else if (beyond < nearDistance) {
      near = index;
      nearDistance = beyond;
    }
  }
  return covering >= 0 ? covering : near;
}

export interface Frame {
  centre: readonly [number, number, number];
  /** Unit vectors of the camera: to the right, up, and from the centre to the camera. */
  right: readonly [number, number, number];
  up: readonly [number, number, number];
  back: readonly [number, number, number];
  /** Half of the free view's width and height at distance one. */
  halfWidth: number;
  halfHeight: number;
}

export interface Fit {
  /** From the centre along `right` and `up` to the place that the camera looks at. */
  across: number;
  along: number;
  /** From that place to the camera, along `back`. */
  distance: number;
}

/** Of a large cloud, this share on each side must be in view: lone outliers don't shrink the rest. */
const FITTED_SHARE = 0.995;
const LARGE = 2_000;

/**
 * The nearest camera that sees the whole cloud. A point (x, y, z in the camera's axes) is in view
 * where ±x ≤ halfWidth · (distance − z), and so for y: the extremes of ±x + halfWidth · z give
 * both the middle and the distance.
 */
export function fitView(positions: Float32Array, frame: Frame): Fit {
  const { centre, right, up, back, halfWidth, halfHeight } = frame;
  const count = positions.length / 3;
  if (count === 0) return { across: 0, along: 0, distance: 1 };
  const toRight = new Float32Array(count);
  const toLeft = new Float32Array(count);
  const upwards = new Float32Array(count);
  const downwards = new Float32Array(count);
  for (let index = 0; index < count; index += 1) {
    const x = (positions[index * 3] ?? 0) - centre[0];
    const y = (positions[index * 3 + 1] ?? 0) - centre[1];
    const z = (positions[index * 3 + 2] ?? 0) - centre[2];
    const on = (axis: readonly [number, number, number]): number =>
      x * axis[0] + y * axis[1] + z * axis[2];
    const depth = on(back);
    toRight[index] = on(right) + halfWidth * depth;
    toLeft[index] = -on(right) + halfWidth * depth;
    upwards[index] = on(up) + halfHeight * depth;
    downwards[index] = -on(up) + halfHeight * depth;
  }
  const share = count > LARGE ? FITTED_SHARE : 1;
  const extreme = (side: Float32Array): number => side.sort()[Math.floor((count - 1) * share)] ?? 0;
  const [east, west, north, south] = [
    extreme(toRight),
    extreme(toLeft),
    extreme(upwards),
    extreme(downwards),
  ];
  const wide = (east + west) / (2 * halfWidth);
  const high = (north + south) / (2 * halfHeight);
  return { across: (east - west) / 2, along: (north - south) / 2, distance: Math.max(wide, high) };
}

/** Middle of the cloud and the radius around it that holds 98 % of its points. */
export function extent(positions: Float32Array): {
  centre: [number, number, number];
  radius: number;
} {
  const count = positions.length / 3;
  if (count === 0) return { centre: [0, 0, 0], radius: 1 };
  const centre: [number, number, number] = [0, 0, 0];
  for (let index = 0; index < positions.length; index += 1) {
    const axis = (index % 3) as 0 | 1 | 2;
    centre[axis] += (positions[index] ?? 0) / count;
  }
  const distances = new Float32Array(count);
  for (let index = 0; index < count; index += 1) {
    distances[index] = Math.hypot(
      (positions[index * 3] ?? 0) - centre[0],
      (positions[index * 3 + 1] ?? 0) - centre[1],
      (positions[index * 3 + 2] ?? 0) - centre[2],
    );
  }
  distances.sort();
  const radius = distances[Math.floor((count - 1) * 0.98)] ?? 0;
  return { centre, radius: radius > 0 ? radius : 1 };
}
